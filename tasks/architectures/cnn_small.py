"""A plain convolutional network for small colour images, for when minutes count."""

from collections.abc import Callable

import torch
from torch import nn

from tasks.parameters import Count, Rate
from tasks.registry import component
from tasks.types import Shape


class SmallCNN(nn.Sequential):
    """Three times a 3x3 convolution, an activation and a pooling, then one linear layer with its activation."""

    def __init__(
        self, shape: Shape, activation: Callable[[], nn.Module], width: int, hidden: int, dropout: float
    ) -> None:
        channels, height, side = shape
        super().__init__(
            *(nn.Conv2d(channels, width, 3, padding=1), activation(), nn.MaxPool2d(2)),
            *(nn.Conv2d(width, 2 * width, 3, padding=1), activation(), nn.MaxPool2d(2)),
            *(nn.Conv2d(2 * width, 2 * width, 3, padding=1), activation(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(dropout), nn.Linear(2 * width * (height // 8) * (side // 8), hidden)),
            activation(),
        )
        self.width = hidden
        # Torch's pooling on a CPU is vectorised over channels only if they are stored last.
        self.to(memory_format=torch.channels_last)


@component("architecture", version=1)
def cnn_small(
    shape: Shape,
    activation: Callable[[], nn.Module],
    *,
    width: Count = 32,
    hidden: Count = 128,
    dropout: Rate = 0.0,
) -> nn.Module:
    """Three convolutions and one linear layer, no normalisation: (batch, *shape) -> (batch, `hidden`).

    The convolutions have `width`, twice and twice as many channels; each is followed by a 2x2 max-pooling, so that
    sides go 32-16-8-4. A share `dropout` of the last of these is dropped. The head adds the last linear layer.
    Raises ValueError for images with a side under 8.
    """
    if min(shape[1:]) < 8:
        raise ValueError(f"cnn_small takes images with sides of 8 or more, not {shape}")
    return SmallCNN(shape, activation, width, hidden, dropout)
