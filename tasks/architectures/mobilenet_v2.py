"""A network of inverted residuals with linear bottlenecks; torchvision's, made a body."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from torch import nn
from torchvision.models import MobileNet_V2_Weights
from torchvision.models.mobilenetv2 import MobileNetV2

from tasks.architectures._fitting import halved, lone_values, unfit_images, unfit_weights
from tasks.architectures._torchvision import load_imagenet, replace_activations
from tasks.parameters import Rate
from tasks.refusals import refuse
from tasks.registry import component
from tasks.types import Shape

_CIFAR = [
    [1, 16, 1, 1],
    [6, 24, 2, 1],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
]
_STAGES = {"cifar": _CIFAR, "imagenet": None}
"""Expansion, channels, repeats and stride of each; None is torchvision's own, whose second stage has stride 2."""


class MobileNet(MobileNetV2):  # type: ignore[misc] # torchvision is untyped
    """Seventeen inverted residuals, a 1x1 convolution, the mean over what is left of the image, and dropout."""

    width = 1280

    def __init__(self, activation: Callable[[], nn.Module], stem: str, dropout: float) -> None:
        super().__init__(num_classes=1, inverted_residual_setting=_STAGES[stem], dropout=dropout)
        if stem == "cifar":
            self.features[0][0].stride = (1, 1)
        self.classifier = nn.Dropout(dropout)
        replace_activations(self, nn.ReLU6, activation)


@component("architecture", version=1, paper="https://arxiv.org/abs/1801.04381")
def mobilenet_v2(
    shape: Shape,
    activation: Callable[[], nn.Module],
    *,
    stem: Literal["cifar", "imagenet"] = "cifar",
    relu6: bool = True,
    dropout: Rate = 0.2,
    pretrained: bool = False,
) -> nn.Module:
    """MobileNetV2: (batch, 3, height, width) -> (batch, 1280).

    The paper's activation is ReLU6. So with `relu6`, a cell whose activation is relu, the default, gets min(relu, 6),
    the clipping being a layer of its own behind it; any other activation is used as it is. `relu6: false` takes relu as
    it is too.
    The stem "cifar" has stride 1 in the first convolution and in the stage of 24 channels, where ImageNet's have 2:
    sides go 32-32-32-16-8-8-4-4. `pretrained` and the errors are those of `resnet50`, but for the sides: any will do.
    """
    refuse(ValueError, refuses(stem=stem, shape=shape))
    body = MobileNet(_clipped(activation) if relu6 else activation, stem, dropout)
    if pretrained:
        load_imagenet(body, MobileNet_V2_Weights.IMAGENET1K_V1, stem)
    return body


def _clipped(activation: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        made = activation()
        # What was made stays in the body, in its place among the activations.
        return nn.Sequential(made, nn.ReLU6()) if isinstance(made, nn.ReLU) else made

    return make


def refuses(
    *,
    stem: str,
    pretrained: bool = False,
    shape: Shape | None = None,
    activation: Any = None,  # noqa: ANN401 - a `tasks.refusals.Part`
    training: Any = None,  # noqa: ANN401 - as above
    inputs: str = "standardised",
    initialisation: str = "torch",
    train_samples: int | None = None,
) -> Iterator[str]:
    """Images without colour or too small, weights that do not fit, and a batch of too little to normalise."""
    yield from unfit_images("mobilenet_v2", shape, 1)
    yield from unfit_weights(stem, activation, inputs, initialisation) if pretrained else ()
    yield from lone_values(halved(shape, 3 if stem == "cifar" else 5), training, train_samples) if shape else ()


def widths() -> list[int]:
    """Channels at each activation: the stem's, of each block the expanded ones, and the last convolution's."""
    found, before = [32], 32
    for expansion, channels, repeats, _ in _CIFAR:
        for _ in range(repeats):
            found += [before * expansion] * (1 if expansion == 1 else 2)
            before = channels
    return [*found, 1280]
