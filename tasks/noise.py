"""Random numbers inside a model: what a stochastic layer draws, tied to the sample while it is attacked and judged.

A layer that draws when it evaluates says `stochastic = True` and takes its numbers from `uniform` and `normal`. While
the harness runs the model they are functions of sample, pass and place in the model, so that neither the batch nor a
neighbour changes one; anywhere else (in training) they come from torch's own generator.

What belongs to no single image, such as noise in weights, comes from `share_normal`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property

import torch
from torch import Tensor, nn

from tasks.streams import Streams
from tasks.types import Rows


class Noise:
    """The draws of one pass: `streams` has a row for each image, `passes` says which of a sample's passes it is."""

    def __init__(self, streams: Streams, passes: Tensor, *, fixed: bool = False) -> None:
        self.fixed = fixed
        self._streams = streams
        self._passes = passes
        self._places = 0

    def at(self, rows: Rows) -> "Noise":
        """The draws of a chunk of the pass's images, of which there are always as many (`fixed`)."""
        return Noise(self._streams.at(rows), self._passes[rows], fixed=True)

    def place(self) -> tuple[Streams, str, Tensor]:
        """Where the model's next draw comes from."""
        self._places += 1
        return self._streams, f"model {self._places}", self._passes

    @cached_property
    def together(self) -> list[tuple[Tensor, Rows | None]]:
        """Each pass that images are at, (1,), and which images those are; None is all of them."""
        # Found once for all layers: it makes a GPU wait for the answer.
        numbers = self._passes.unique()  # type: ignore[no-untyped-call] # torch leaves it unannotated
        if len(numbers) == 1:
            return [(numbers, None)]
        return [(number[None], (self._passes == number).nonzero()[:, 0]) for number in numbers]


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


def share_normal(like: Tensor, inputs: Tensor, run: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`run(inputs, drawn)` with standard normal numbers, shaped as `like`, that the images share.

    `inputs` and what `run` returns have a row for each image. In training all share one draw, as a batch has one noisy
    weight. Under attack a sample's scores must not depend on what shares its batch, so that a draw is a function of
    case, pass and place alone: a sample's third pass has the noise of any other sample's third, alone or beside it.
    `run` is called once for each of the passes that the images are at, on the rows that are at it.
    """
    noise = _current.get()
    if noise is None:
        return run(inputs, torch.randn_like(like))
    streams, place, _ = noise.place()
    nobody = Streams(streams.key, torch.zeros(1, dtype=torch.int64, device=like.device))
    outputs = []
    for number, rows in noise.together:
        drawn = nobody.normal(f"{place}, shared", number, tuple(like.shape), like.dtype)[0]
        if rows is None:
            return run(inputs, drawn)
        # Rounding depends on how many rows there are, so of a chunk that is to be of one size all are run.
        some = run(inputs, drawn).index_select(0, rows) if noise.fixed else run(inputs.index_select(0, rows), drawn)
        outputs.append(some)
    order = torch.cat([rows for _, rows in noise.together if rows is not None])
    return torch.cat(outputs).index_select(0, order.argsort())
