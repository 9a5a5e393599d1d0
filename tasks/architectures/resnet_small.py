"""The residual networks that He et al. (2016) train on CIFAR-10: small enough for a CPU."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tasks.architectures._fitting import halved, lone_values
from tasks.parameters import Count
from tasks.registry import component
from tasks.types import Shape


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, and a shortcut without weights: every second pixel, and zeros for the new channels."""

    def __init__(self, channels: int, out: int, stride: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = out - channels
        self.inner = nn.Sequential(
            *(nn.Conv2d(channels, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out), activation()),
            *(nn.Conv2d(out, out, 3, padding=1, bias=False), nn.BatchNorm2d(out)),
        )
        self.activation = activation()

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, out, height / stride, width / stride), rounded up."""
        shortcut = features
        if self.stride > 1 or self.new_channels:
            shortcut = pad(features[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))
        return self.activation(self.inner(features) + shortcut)  # type: ignore[no-any-return] # a module returns anything


class SmallResNet(nn.Sequential):
    """A convolution, three stages of blocks (sides 32-16-8, channels doubling), and the mean over the image."""

    def __init__(self, channels: int, width: int, blocks: int, activation: Callable[[], nn.Module]) -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
        layers.append(activation())
        before = width
        for stage in range(3):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layers.append(BasicBlock(before, width * 2**stage, stride, activation))
                before = width * 2**stage
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.width = before
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        # Batch normalisation on a CPU is vectorised over channels only if they are stored last: a third less time.
        self.to(memory_format=torch.channels_last)


@component("architecture", version=1, paper="https://arxiv.org/abs/1512.03385")
def resnet_small(
    shape: Shape, activation: Callable[[], nn.Module], *, blocks: Count = 1, width: Count = 16
) -> nn.Module:
    """A ResNet of 6 `blocks` + 2 layers, counting the head's: (batch, *shape) -> (batch, 4 `width`).

    The CIFAR-10 networks of He et al. (2016), section 4.2: with `blocks` 3, 9 or 18, ResNet-20, -56
    or -110. The default is ResNet-8. `width` is the channels of the first stage; the second has twice and the third
    four times as many. Shortcuts are the paper's option A, without weights. Takes images of any shape.
    """
    return SmallResNet(shape[0], width, blocks, activation)


def refuses(*, shape: Shape, training: Any, train_samples: int | None = None) -> Iterator[str]:  # noqa: ANN401 - a `tasks.refusals.Part`
    """A batch of too little to normalise."""
    yield from lone_values(halved(shape, 2), training, train_samples)


def widths(*, blocks: int, width: int) -> list[int]:
    """Channels at each activation."""
    return [width, *(width * 2**stage for stage in range(3) for _ in range(2 * blocks))]
