"""The wide residual networks on which defenses of CIFAR-10 are usually compared."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tasks.architectures._fitting import halved, lone_values
from tasks.parameters import Count, Rate
from tasks.refusals import refuse
from tasks.registry import component
from tasks.types import Shape, TaskError


class WideBlock(nn.Module):
    """Twice batch normalisation, activation and a 3x3 convolution; the shortcut is 1x1 where channels change."""

    def __init__(
        self, channels: int, out: int, stride: int, dropout: float, activation: Callable[[], nn.Module]
    ) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(channels), activation())
        self.inner = nn.Sequential(
            *(nn.Conv2d(channels, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out), activation()),
            *(nn.Dropout(dropout), nn.Conv2d(out, out, 3, padding=1, bias=False)),
        )
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False) if (channels, stride) != (out, 1) else None

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, out, height / stride, width / stride), rounded up."""
        activated = self.before(features)
        # As in the authors' code, a shortcut with weights starts behind the first activation, the identity before it.
        kept = features if self.shortcut is None else self.shortcut(activated)
        return self.inner(activated) + kept  # type: ignore[no-any-return] # a module returns anything


class WideResNet(nn.Sequential):
    """A convolution, three stages of blocks (sides 32-16-8, channels doubling), and the mean over the image."""

    def __init__(
        self, channels: int, widen: int, blocks: int, dropout: float, activation: Callable[[], nn.Module]
    ) -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, padding=1, bias=False)]
        before = 16
        for stage in range(3):
            for block in range(blocks):
                out = 16 * widen * 2**stage
                layers.append(WideBlock(before, out, 2 if stage and not block else 1, dropout, activation))
                before = out
        super().__init__(*layers, nn.BatchNorm2d(before), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.width = before
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        # Batch normalisation on a CPU is vectorised over channels only if they are stored last: a sixth less time.
        self.to(memory_format=torch.channels_last)


@component("architecture", version=1, paper="https://arxiv.org/abs/1605.07146")
def wide_resnet(
    shape: Shape,
    activation: Callable[[], nn.Module],
    *,
    depth: Count = 34,
    widen: Count = 1,
    dropout: Rate = 0.0,
) -> nn.Module:
    """WRN-`depth`-`widen`: (batch, *shape) -> (batch, 64 `widen`).

    Zagoruyko and Komodakis (2016): pre-activation blocks of two 3x3 convolutions, (`depth` - 4) / 6 in each of three
    stages of 16, 32 and 64 times `widen` channels. `depth` counts the convolutions, with the 1x1 ones of the shortcuts:
    three, of which `widen` 1 does without the first. `dropout` is within each block, between its convolutions. Takes
    images of any shape. The default, WRN-34-1, is the network that the course project on stochastic winner-takes-all
    layers (Paris-Dauphine, 2024) names; adversarial training is mostly reported on WRN-34-10 and WRN-28-10.
    Raises TaskError for a depth that is not 6 n + 4 with n of 1 or more.
    """
    refuse(TaskError, refuses(depth=depth))
    return WideResNet(shape[0], widen, (depth - 4) // 6, dropout, activation)


def refuses(
    *,
    depth: int,
    shape: Shape | None = None,
    training: Any = None,  # noqa: ANN401 - a `tasks.refusals.Part`
    train_samples: int | None = None,
) -> Iterator[str]:
    """A depth that no three stages have, and a batch of too little to normalise."""
    if depth % 6 != 4 or depth < 10:
        yield f"wide_resnet has a depth of 6 n + 4 (10, 16, 22, 28, 34, 40, ...), not {depth}"
    yield from lone_values(halved(shape, 2), training, train_samples) if shape else ()


def widths(*, depth: int, widen: int) -> list[int]:
    """Channels at each activation."""
    blocks = (depth - 4) // 6
    after = [16 * widen * 2**stage for stage in range(3) for _ in range(blocks)]
    return [width for before, out in zip([16, *after], after, strict=False) for width in (before, out)] + after[-1:]
