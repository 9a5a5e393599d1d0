"""Thirteen convolutions and two linear layers in a row; torchvision's VGG-16, made a body."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torchvision.models import VGG16_Weights
from torchvision.models.vgg import cfgs, make_layers

from tasks.architectures._fitting import unfit_images, unfit_weights
from tasks.architectures._torchvision import load_imagenet, replace_activations
from tasks.parameters import Rate
from tasks.refusals import refuse
from tasks.registry import component
from tasks.types import Shape


class VGG16(nn.Module):
    """Convolutions, the means over a grid of `grid` x `grid` fields, and two linear layers of 4096 units."""

    width = 4096

    def __init__(self, activation: Callable[[], nn.Module], grid: int, dropout: float) -> None:
        super().__init__()
        self.grid = grid
        self.features = make_layers(cfgs["D"])
        self.classifier = nn.Sequential(
            *(nn.Linear(512 * grid**2, 4096), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(dropout)),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type] # each has one
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0, 0.01)
                nn.init.zeros_(layer.bias)
        replace_activations(self, nn.ReLU, activation)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, height, width) -> (batch, 4096)."""
        fields = self.features(images)
        if fields.shape[-2:] == (1, 1):
            # The same, but on a GPU the gradient of the pooling is a sum whose order, and so rounding, varies.
            fields = fields.expand(-1, -1, self.grid, self.grid)
        elif fields.shape[-2:] != (self.grid, self.grid):
            fields = adaptive_avg_pool2d(fields, self.grid)
        return self.classifier(fields.flatten(1))  # type: ignore[no-any-return] # a module returns anything


@component("architecture", version=1, paper="https://arxiv.org/abs/1409.1556")
def vgg16(
    shape: Shape,
    activation: Callable[[], nn.Module],
    *,
    stem: Literal["cifar", "imagenet"] = "cifar",
    dropout: Rate = 0.5,
    pretrained: bool = False,
) -> nn.Module:
    """VGG-16 without batch normalisation: (batch, 3, height, width) -> (batch, 4096).

    Both stems begin alike; what differs is what the linear layers see. With "imagenet" it is a 7x7 grid of means: for
    a 32x32 image 49 times the same, and 103 million weights. With "cifar" it is the one mean: 2 million.
    `pretrained` and the errors are those of `resnet50`, but for the sides: 32 or more with both stems.
    """
    refuse(ValueError, refuses(stem=stem, shape=shape))
    body = VGG16(activation, 1 if stem == "cifar" else 7, dropout)
    if pretrained:
        load_imagenet(body, VGG16_Weights.IMAGENET1K_V1, stem)
    return body


def refuses(
    *,
    stem: str,
    pretrained: bool = False,
    shape: Shape | None = None,
    activation: Any = None,  # noqa: ANN401 - a `Part`
) -> Iterator[str]:
    """Images without colour or too small, and weights that do not fit."""
    yield from unfit_images("vgg16", shape, 32)
    yield from unfit_weights(stem, activation) if pretrained else ()


def widths() -> list[int]:
    """Channels or units at each activation."""
    return [64, 64, 128, 128, *[256] * 3, *[512] * 6, 4096, 4096]
