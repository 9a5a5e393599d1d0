"""What images, activations and batches architectures can take. Knows nothing of torch."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tasks.amounts import num_held_out

_WITH_WEIGHTS = ("drelu",)
"""The activations that have weights of their own, which no file of ImageNet's has."""


def unfit_images(name: str, shape: Sequence[int] | None, side: int) -> Iterator[str]:
    """Why images of a shape are none for an architecture: not 3 channels, or a side that is shorter than `side`."""
    if shape is not None and (shape[0] != 3 or min(shape[1:]) < side):
        yield f"{name} takes images of 3 channels and sides of {side} or more, not {tuple(shape)}"


def unfit_weights(
    stem: str,
    activation: Any = None,  # noqa: ANN401 - a `Part`, if it is known
    inputs: str = "standardised",
    initialisation: str = "torch",
) -> Iterator[str]:
    """Why ImageNet's weights are none for a cell: its stem, an activation that has weights, its inputs or its start."""
    if stem != "imagenet":
        yield f"pretrained: the weights are for the stem imagenet, not {stem}"
    if activation is not None and activation.name in _WITH_WEIGHTS:
        yield f"pretrained: the weights have none for the activation {activation.name}"
    if inputs != "standardised":
        yield f"pretrained: the weights are for standardised inputs, not {inputs}"
    if initialisation != "torch":
        yield f"pretrained: the weights are where it starts, not {initialisation}"


def lone_values(
    sides: Iterable[int],
    training: Any,  # noqa: ANN401 - a `Part`, if it is known
    train_samples: int | None,
) -> Iterator[str]:
    """Why a training would end in a batch normalisation of single values, which have no variance.

    That is where a batch is one image, and the smallest map that is normalised, of these `sides`, one pixel. A last
    batch of one is none: the training lets it join the one before.
    """
    if max(sides) > 1 or training is None or training.name != "standard":
        return
    size, samples, validation = (training.parameters[name] for name in ("batch_size", "samples", "validation"))
    count = samples
    if count is None and train_samples is not None:
        count = train_samples - num_held_out(train_samples, validation)
    if size == 1 or count == 1:
        yield (
            f"a batch of the training is a single image ({count or 'all'} in batches of {size}), and its last "
            "maps are single pixels: a batch normalisation needs two values"
        )


def halved(shape: Sequence[int], times: int) -> list[int]:
    """The sides of an image after so many layers of stride 2 that round up."""
    return [-(-side // 2**times) for side in shape[1:]]


def bottleneck_widths(blocks: Sequence[int]) -> list[int]:
    """Channels at each activation of a residual network of bottlenecks: the stem's, and three of each block."""
    stages = [(64 * 2**stage, count) for stage, count in enumerate(blocks)]
    return [64, *(width for planes, count in stages for _ in range(count) for width in (planes, planes, 4 * planes))]
