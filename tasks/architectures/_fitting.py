"""What images and activations the architectures from torchvision can take. Knows nothing of torch."""

from collections.abc import Iterator, Sequence
from typing import Any

_WITH_WEIGHTS = ("drelu",)
"""The activations that have weights of their own, which no file of ImageNet's has."""


def unfit_images(name: str, shape: Sequence[int] | None, side: int) -> Iterator[str]:
    """Why images of a shape are none for an architecture: not 3 channels, or a side that is shorter than `side`."""
    if shape is not None and (shape[0] != 3 or min(shape[1:]) < side):
        yield f"{name} takes images of 3 channels and sides of {side} or more, not {tuple(shape)}"


def unfit_weights(stem: str, activation: Any = None) -> Iterator[str]:  # noqa: ANN401 - a `Part`, if it is known
    """Why ImageNet's weights are none for an architecture: another stem, or an activation that has weights."""
    if stem != "imagenet":
        yield f"pretrained: the weights are for the stem imagenet, not {stem}"
    if activation is not None and activation.name in _WITH_WEIGHTS:
        yield f"pretrained: the weights have none for the activation {activation.name}"


def bottleneck_widths(blocks: Sequence[int]) -> list[int]:
    """Channels at each activation of a residual network of bottlenecks: the stem's, and three of each block."""
    stages = [(64 * 2**stage, count) for stage, count in enumerate(blocks)]
    return [64, *(width for planes, count in stages for _ in range(count) for width in (planes, planes, 4 * planes))]
