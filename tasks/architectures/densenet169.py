"""A densely connected network; torchvision's, made a body."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torchvision.models import DenseNet169_Weights
from torchvision.models.densenet import DenseNet

from tasks.architectures._fitting import halved, lone_values, unfit_images, unfit_weights
from tasks.architectures._torchvision import load_imagenet, replace_activations
from tasks.refusals import refuse
from tasks.registry import component
from tasks.types import Shape

_BLOCKS = (6, 12, 32, 32)


class DenseNet169(DenseNet):  # type: ignore[misc] # torchvision is untyped
    """Dense blocks of 6, 12, 32 and 32 layers, each adding 32 channels; the last activation is a module too."""

    width = 1664

    def __init__(self, activation: Callable[[], nn.Module], stem: str) -> None:
        super().__init__(growth_rate=32, block_config=_BLOCKS, num_init_features=64, num_classes=1)
        if stem == "cifar":
            self.features.conv0 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(self.features.conv0.weight)
        self.relu5 = nn.ReLU()
        del self.classifier
        replace_activations(self, nn.ReLU, activation)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, height, width) -> (batch, 1664)."""
        return adaptive_avg_pool2d(self.relu5(self.features(images)), 1).flatten(1)


@component("architecture", version=1, paper="https://arxiv.org/abs/1608.06993")
def densenet169(
    shape: Shape,
    activation: Callable[[], nn.Module],
    *,
    stem: Literal["cifar", "imagenet"] = "cifar",
    pretrained: bool = False,
) -> nn.Module:
    """DenseNet-169: (batch, 3, height, width) -> (batch, 1664).

    torchvision's DenseNet-BC: growth rate 32, bottlenecks of 128 channels, channels halved between blocks. The stem
    "cifar" starts with a 3x3 convolution of stride 1 instead of 7x7 of stride 2, and keeps the max-pooling: sides go
    32-16-16-8-4-2. `pretrained` and the errors are those of `resnet50`.
    """
    refuse(ValueError, refuses(stem=stem, shape=shape))
    body = DenseNet169(activation, stem)
    if pretrained:
        load_imagenet(body, DenseNet169_Weights.IMAGENET1K_V1, stem)
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
    yield from unfit_images("densenet169", shape, 16 if stem == "cifar" else 32)
    yield from unfit_weights(stem, activation) if pretrained else ()
    yield from (
        lone_values([side // 8 for side in halved(shape, 1 if stem == "cifar" else 2)], training, train_samples)
        if shape
        else ()
    )


def widths() -> list[int]:
    """Channels at each activation: two of each layer, and one behind each block."""
    channels, found = 64, [64]
    for layers in _BLOCKS:
        for _ in range(layers):
            found += [channels, 128]
            channels += 32
        found.append(channels)
        channels //= 2
    return found
