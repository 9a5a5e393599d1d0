"""The deeper of the two residual networks of bottleneck blocks."""

from collections.abc import Callable
from typing import Literal

from torch import nn
from torchvision.models import ResNet101_Weights

from tasks.architectures._torchvision import load_imagenet, require_colour
from tasks.architectures.resnet50 import BottleneckResNet
from tasks.registry import component
from tasks.types import Shape


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
    require_colour("resnet101", shape, 16 if stem == "cifar" else 32)
    body = BottleneckResNet([3, 4, 23, 3], activation, stem)
    if pretrained:
        load_imagenet(body, ResNet101_Weights.IMAGENET1K_V1, stem)
    return body
