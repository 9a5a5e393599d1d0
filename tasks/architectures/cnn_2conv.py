"""The network that the softRmax thesis (Ingendaa 2024) trains on Fashion-MNIST."""

from collections.abc import Callable, Iterator

import torch
from torch import nn

from tasks.parameters import Rate
from tasks.refusals import refuse
from tasks.registry import component
from tasks.types import Shape


class CNN2Conv(nn.Sequential):
    """Two convolutions with batch normalisation (sides 28-14-12-6), then two linear layers with nothing in between."""

    width = 120

    def __init__(self, activation: Callable[[], nn.Module], dropout: float) -> None:
        super().__init__(
            *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), activation(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3), nn.BatchNorm2d(64), activation(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(2304, 600)),
            # The thesis puts Dropout2d here. A flat unit is a channel of one value, so dropping channels is dropping
            # units; torch warns that Dropout2d will refuse flat input, and some versions drop whole samples.
            nn.Dropout(dropout),
            nn.Linear(600, 120),
        )
        # Torch's pooling on a CPU is vectorised over channels only if they are stored last: twice the images a second.
        self.to(memory_format=torch.channels_last)


@component("architecture", version=1)
def cnn_2conv(shape: Shape, activation: Callable[[], nn.Module], *, dropout: Rate = 0.25) -> nn.Module:
    """Two convolutions and two linear layers without nonlinearity: (batch, 1, 28, 28) -> (batch, 120).

    The Fashion-MNIST network of the softRmax thesis (Ingendaa 2024), less its last linear layer, which is the head's.
    Raises ValueError for images of another shape.
    """
    refuse(ValueError, refuses(shape=shape))
    return CNN2Conv(activation, dropout)


def refuses(*, shape: Shape) -> Iterator[str]:
    """Images of any shape but one."""
    if shape != (1, 28, 28):
        yield f"cnn_2conv takes images of shape (1, 28, 28), not {shape}"


def widths() -> tuple[int, ...]:
    """Channels at each activation."""
    return (32, 64)
