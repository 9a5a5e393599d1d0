"""Random numbers inside a model: what a stochastic layer draws, tied to the sample while it is attacked and judged.

A layer that draws when it evaluates says `stochastic = True` and takes its numbers from `uniform` and `normal`. While
the harness runs the model they are functions of sample, pass and place in the model, so that neither the batch nor a
neighbour changes one; anywhere else (in training) they come from torch's own generator.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from tasks.streams import Streams
from tasks.types import Rows


class Noise:
    """The draws of one pass: `streams` has a row for each image, `passes` says which of a sample's passes it is."""

    def __init__(self, streams: Streams, passes: Tensor) -> None:
        self._streams = streams
        self._passes = passes
        self._places = 0

    def at(self, rows: Rows) -> "Noise":
        """The draws of some images of the pass."""
        return Noise(self._streams.at(rows), self._passes[rows])

    def place(self) -> tuple[Streams, str, Tensor]:
        """Where the model's next draw comes from."""
        self._places += 1
        return self._streams, f"model {self._places}", self._passes


_current: ContextVar[Noise | None] = ContextVar("noise", default=None)


def is_stochastic(model: nn.Module) -> bool:
    """Whether any part of a model draws numbers when it evaluates."""
    return any(getattr(module, "stochastic", False) for module in model.modules())


@contextmanager
def drawing(noise: Noise | None) -> Iterator[None]:
    """Inside, a model draws from `noise`."""
    token = _current.set(noise)
    try:
        yield
    finally:
        _current.reset(token)


def uniform(like: Tensor) -> Tensor:
    """Numbers in [0, 1) of the shape, type and device of `like`, whose first dimension is the batch."""
    noise = _current.get()
    if noise is None:
        return torch.rand_like(like)
    streams, place, passes = noise.place()
    return streams.uniform(place, passes, tuple(like.shape[1:]), like.dtype)


def normal(like: Tensor) -> Tensor:
    """Standard normal numbers, likewise."""
    noise = _current.get()
    if noise is None:
        return torch.randn_like(like)
    streams, place, passes = noise.place()
    return streams.normal(place, passes, tuple(like.shape[1:]), like.dtype)
