"""A multilayer perceptron: the smallest body that any image fits into."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from tasks.parameters import Count
from tasks.registry import component
from tasks.types import Shape


class MLP(nn.Sequential):
    """Flatten, then linear layers of `sizes`, each but the input followed by an activation."""

    def __init__(self, sizes: Sequence[int], activation: Callable[[], nn.Module]) -> None:
        layers = [layer for size in pairwise(sizes) for layer in (nn.Linear(*size), activation())]
        super().__init__(nn.Flatten(), *layers)
        self.width: int = sizes[-1]


@component("architecture", version=1)
def mlp(shape: Shape, activation: Callable[[], nn.Module], *, hidden: list[Count] = [256]) -> nn.Module:  # noqa: B006 - read from the source as a literal, and never changed
    """A perceptron with hidden layers of the given widths: (batch, *shape) -> (batch, last width).

    With no hidden layer the features are the pixels themselves, and the cell is a linear classifier.
    """
    return MLP([math.prod(shape), *hidden], activation)


def widths(*, hidden: Sequence[int]) -> Sequence[int]:
    """Units at each activation."""
    return hidden
