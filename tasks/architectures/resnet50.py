"""Residual networks of bottleneck blocks; torchvision's, made a body."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from torch import Tensor, nn
from torchvision.models import ResNet50_Weights
from torchvision.models.resnet import Bottleneck, ResNet

from tasks.architectures._fitting import bottleneck_widths, halved, lone_values, unfit_images, unfit_weights
from tasks.architectures._torchvision import load_imagenet, replace_activations
from tasks.refusals import refuse
from tasks.registry import component
from tasks.types import Shape

_BLOCKS = [3, 4, 6, 3]


class Block(Bottleneck):  # type: ignore[misc] # torchvision is untyped
    """torchvision's block, except that each of its three activations is a module of its own, and none is in place."""

    def __init__(self, *sizes: Any, **more: Any) -> None:  # noqa: ANN401 - what torchvision's takes
        super().__init__(*sizes, **more)
        self.relu2, self.relu3 = nn.ReLU(), nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, height, width) to the same, with the channels and the stride of the block."""
        residual = self.relu(self.bn1(self.conv1(features)))
        residual = self.relu2(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        shortcut = features if self.downsample is None else self.downsample(features)
        return self.relu3(residual + shortcut)  # type: ignore[no-any-return] # torchvision is untyped


class BottleneckResNet(ResNet):  # type: ignore[misc] # torchvision is untyped
    """Four stages of so many blocks, and the mean over what is left of the image."""

    width = 2048

    def __init__(self, blocks: list[int], activation: Callable[[], nn.Module], stem: str) -> None:
        super().__init__(Block, blocks, num_classes=1)
        if stem == "cifar":
            self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.fc = nn.Identity()
        replace_activations(self, nn.ReLU, activation)


@component("architecture", version=1, paper="https://arxiv.org/abs/1512.03385")
def resnet50(
    shape: Shape,
    activation: Callable[[], nn.Module],
    *,
    stem: Literal["cifar", "imagenet"] = "cifar",
    pretrained: bool = False,
) -> nn.Module:
    """ResNet-50: (batch, 3, height, width) -> (batch, 2048).

    torchvision's, whose blocks have their stride in the 3x3 convolution. The stem "cifar" starts with a 3x3
    convolution of stride 1 instead of 7x7 of stride 2, and keeps the max-pooling: sides go 32-16-16-8-4-2.
    `pretrained` starts from torchvision's ImageNet weights (IMAGENET1K_V1), which need the stem "imagenet"; they were
    trained on images standardised by mean (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225).
    Raises ValueError for images without 3 channels or smaller than 16x16 (stem "imagenet": 32x32), TaskError where
    the weights do not fit the stem or cannot be downloaded.
    """
    refuse(ValueError, refuses(stem=stem, shape=shape))
    body = BottleneckResNet(_BLOCKS, activation, stem)
    if pretrained:
        load_imagenet(body, ResNet50_Weights.IMAGENET1K_V1, stem)
    return body


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
    yield from unfit_images("resnet50", shape, 16 if stem == "cifar" else 32)
    yield from unfit_weights(stem, activation, inputs, initialisation) if pretrained else ()
    yield from lone_values(halved(shape, 4 if stem == "cifar" else 5), training, train_samples) if shape else ()


def widths() -> list[int]:
    """Channels at each activation."""
    return bottleneck_widths(_BLOCKS)
