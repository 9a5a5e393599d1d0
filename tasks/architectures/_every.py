"""What every architecture can be asked beside its own parameters: the keyword-only ones of `extended`.

`tasks.registry` reads its signature, as it does those of components. Knows nothing of heads.
"""

from collections.abc import Callable, Sequence

from torch import nn

from tasks.parameters import Count
from tasks.registry import every
from tasks.types import Shape


class Extended(nn.Sequential):
    """A body with what was put around it; features of `width`."""

    def __init__(self, width: int, *parts: nn.Module) -> None:
        super().__init__(*parts)
        self.width = width


@every("architecture")
def extended(
    make: Callable[[Shape], nn.Module],
    shape: Shape,
    activation: Callable[[], nn.Module],
    *,
    extra_dense: Count | None = None,
    extra_conv: Count | None = None,
) -> nn.Module:
    """An architecture's body, with a layer more where one is asked for, followed by the cell's activation.

    `extra_dense`: a linear layer of that width before the head; `extra_conv`: a 3x3 convolution to that many channels
    right after the input. They are where the dissertation on capped ReLUs (Sooksatra 2025, chapter 5) has its
    trainable caps.
    """
    before: list[nn.Module] = []
    if extra_conv is not None:
        before = [nn.Conv2d(shape[0], extra_conv, 3, padding=1), activation()]
        shape = (extra_conv, *shape[1:])
    body = make(shape)
    width = int(body.width)  # type: ignore[arg-type] # a module's attributes may be anything
    after: list[nn.Module] = []
    if extra_dense is not None:
        after, width = [nn.Linear(width, extra_dense), activation()], extra_dense
    return Extended(width, *before, body, *after) if before or after else body


def widths(
    of_body: Callable[[Sequence[int]], Sequence[int]],
    shape: Sequence[int],
    *,
    extra_dense: int | None = None,
    extra_conv: int | None = None,
) -> list[int]:
    """The units or channels at each activation, in order: those of a body for images of a shape, and what is around."""
    inside = of_body(shape if extra_conv is None else (extra_conv, *shape[1:]))
    return [*filter(None, [extra_conv]), *inside, *filter(None, [extra_dense])]
