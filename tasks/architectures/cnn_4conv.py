"""The network that the softRmax thesis (Ingendaa 2024) trains on MNIST."""

from collections.abc import Callable, Iterator

import torch
from torch import nn

from tasks.parameters import Rate
from tasks.refusals import refuse
from tasks.registry import component
from tasks.types import Shape


class CNN4Conv(nn.Sequential):
    """Four 3x3 convolutions without padding: the sides go 28-26-13-11-5-3-1."""

    width = 64

    def __init__(self, activation: Callable[[], nn.Module], dropout: float) -> None:
        super().__init__(
            *(nn.Conv2d(1, 16, 3), nn.MaxPool2d(2), activation()),
            *(nn.Conv2d(16, 32, 3), nn.MaxPool2d(2), activation()),
            *(nn.Conv2d(32, 32, 3), activation()),
            *(nn.Conv2d(32, 64, 3), nn.Dropout2d(dropout), activation()),
            nn.Flatten(),
        )
        # Torch's pooling on a CPU is vectorised over channels only if they are stored last: twice the images a second.
        self.to(memory_format=torch.channels_last)


@component("architecture", version=1)
def cnn_4conv(shape: Shape, activation: Callable[[], nn.Module], *, dropout: Rate = 0.5) -> nn.Module:
    """Four convolutions, two poolings, and a dropout of whole channels: (batch, 1, 28, 28) -> (batch, 64).

    The MNIST network of the softRmax thesis (Ingendaa 2024), less its last linear layer, which is the head's.
    Raises ValueError for images of another shape.
    """
    refuse(ValueError, refuses(shape=shape))
    return CNN4Conv(activation, dropout)


def refuses(*, shape: Shape) -> Iterator[str]:
    """Images of any shape but one."""
    if shape != (1, 28, 28):
        yield f"cnn_4conv takes images of shape (1, 28, 28), not {shape}"


def widths() -> tuple[int, ...]:
    """Channels at each activation."""
    return (16, 32, 32, 64)
