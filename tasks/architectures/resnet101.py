"""The deeper of the two residual networks of bottleneck blocks."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from torch import nn
from torchvision.models import ResNet101_Weights

from tasks.architectures._fitting import bottleneck_widths, halved, lone_values, unfit_images, unfit_weights
from tasks.architectures._torchvision import load_imagenet
from tasks.architectures.resnet50 import BottleneckResNet
from tasks.refusals import refuse
from tasks.registry import component
from tasks.types import Shape

_BLOCKS = [3, 4, 23, 3]


@component("architecture", version=1, paper="https://arxiv.org/abs/1512.03385")
def resnet101(
    shape: Shape,
    activation: Callable[[], nn.Module],
    *,
    stem: Literal["cifar", "imagenet"] = "cifar",
    pretrained: bool = False,
) -> nn.Module:
    """ResNet-101: (batch, 3, height, width) -> (batch, 2048).

    ResNet-50 with 23 instead of 6 blocks in its third stage; parameters, sides and errors are those of `resnet50`.
    """
    refuse(ValueError, refuses(stem=stem, shape=shape))
    body = BottleneckResNet(_BLOCKS, activation, stem)
    if pretrained:
        load_imagenet(body, ResNet101_Weights.IMAGENET1K_V1, stem)
    return body


def refuses(
    *,
    stem: str,
    pretrained: bool = False,
    shape: Shape | None = None,
    activation: Any = None,  # noqa: ANN401 - a `tasks.refusals.Part`
    training: Any = None,  # noqa: ANN401 - as above
    train_samples: int | None = None,
) -> Iterator[str]:
    """Images without colour or too small, weights that do not fit, and a batch of too little to normalise."""
    yield from unfit_images("resnet101", shape, 16 if stem == "cifar" else 32)
    yield from unfit_weights(stem, activation) if pretrained else ()
    yield from lone_values(halved(shape, 4 if stem == "cifar" else 5), training, train_samples) if shape else ()


def widths() -> list[int]:
    """Channels at each activation."""
    return bottleneck_widths(_BLOCKS)
