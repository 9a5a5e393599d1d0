"""A plain convolutional network of a few layers, for when minutes count."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from tasks.parameters import Count, Rate
from tasks.refusals import refuse
from tasks.registry import component
from tasks.types import Shape


class SmallCNN(nn.Sequential):
    """Convolutions, each with an activation and a pooling, then linear layers, each with an activation."""

    def __init__(
        self,
        shape: Shape,
        activation: Callable[[], nn.Module],
        *,
        channels: Sequence[int],
        kernel: int,
        dense: Sequence[int],
        dropout: float,
    ) -> None:
        layers: list[nn.Module] = []
        for before, after in pairwise([shape[0], *channels]):
            layers += [nn.Conv2d(before, after, kernel, padding=kernel // 2), activation(), nn.MaxPool2d(2)]
        layers += [nn.Flatten(), nn.Dropout(dropout)]
        sides = [side // 2 ** len(channels) for side in shape[1:]]
        widths = [math.prod(sides) * [shape[0], *channels][-1], *dense]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), activation()]
        super().__init__(*layers)
        self.width = widths[-1]
        # Torch's pooling on a CPU is vectorised over channels only if they are stored last.
        self.to(memory_format=torch.channels_last)


@component("architecture", version=1)
def cnn_small(
    shape: Shape,
    activation: Callable[[], nn.Module],
    *,
    channels: list[Count] = [32, 64, 64],  # noqa: B006 - read from the source as a literal, and never changed
    kernel: Literal[1, 3, 5, 7] = 3,
    dense: list[Count] = [128],  # noqa: B006 - as above
    dropout: Rate = 0.0,
) -> nn.Module:
    """A few convolutions and linear layers, no normalisation: (batch, *shape) -> (batch, last of `dense`).

    One convolution with stride 1 and a side of `kernel` for each of `channels`, each followed by an activation and a
    2x2 max-pooling, so that sides go 32-16-8-4; then one linear layer with an activation for each of `dense`. A share
    `dropout` of what enters the first of these, or the head where there is none, is dropped. The head adds the last
    linear layer.
    Stands in for the CNN of the study of the sigmoid's temperature (Beckova, Pocos and Farkas) and for the shallow CNN
    of the dissertation on capped ReLUs (Sooksatra 2025), neither of which says what its layers are.
    Raises ValueError for images with a side under 2 to the number of poolings.
    """
    refuse(ValueError, refuses(channels=channels, shape=shape))
    return SmallCNN(shape, activation, channels=channels, kernel=kernel, dense=dense, dropout=dropout)


def refuses(*, channels: Sequence[int], shape: Shape) -> Iterator[str]:
    """Images of which the poolings would leave nothing."""
    if min(shape[1:]) < 2 ** len(channels):
        yield f"cnn_small takes images with sides of {2 ** len(channels)} or more, not {shape}"


def widths(*, channels: Sequence[int], dense: Sequence[int]) -> list[int]:
    """Channels or units at each activation."""
    return [*channels, *dense]
