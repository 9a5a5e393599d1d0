"""What an attack knows of each sample of a batch: tensors with a row for each, as the attributes of one object.

Knows nothing of models, attacks or of what the tensors mean.
"""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from tasks.types import Rows


class PerSample:
    """The base of such objects, dataclasses or not: their rows are picked, written back and let go together.

    Every attribute that is a tensor has the samples first. Any other is the same for all samples.
    """

    def at(self, rows: Rows | slice) -> Self:
        """Some of the rows, in the order of `rows`: a copy, but for a slice a view."""
        return self._with({name: tensor[rows] for name, tensor in self._tensors().items()})

    def put(self, rows: Rows, part: Self, *names: str) -> None:
        """Write `part` into some of the rows, in place: the attributes of these names, without any all tensors."""
        for name in names or self._tensors():
            getattr(self, name)[rows] = getattr(part, name)

    def release(self, going: Tensor, beside: Sequence[Tensor] = ()) -> Self:
        """Let the samples leave that do not go on, (n,) bool, and return them; the others may end in another order.

        Rows are moved in place, so no two tensors may share memory. Those of the tensors `beside` move as well; these
        keep their length, with the samples that stay in front.
        """
        tensors = self._tensors()
        count = to_front(going, [*tensors.values(), *beside])
        for name, tensor in tensors.items():
            setattr(self, name, tensor[:count])
        return self._with({name: tensor[count:] for name, tensor in tensors.items()})

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def _with(self, tensors: dict[str, Tensor]) -> Self:
        """The same object with other tensors."""
        other = object.__new__(type(self))
        vars(other).update(vars(self) | tensors)
        return other


def to_front(going: Tensor, tensors: Sequence[Tensor]) -> int:
    """Swap the samples that go on, (n,) bool, to the front of every tensor, in place, and say how many they are.

    It moves as few rows as possible: the tensors are as large as the images, and most samples go on.
    """
    stay, leave = torch.nonzero(going)[:, 0], torch.nonzero(~going)[:, 0]
    count = len(stay)
    holes, fillers = leave[leave < count], stay[stay >= count]
    if len(holes) > 0:
        to, of = torch.cat([holes, fillers]), torch.cat([fillers, holes])
        for tensor in tensors:
            tensor.index_copy_(0, to, tensor.index_select(0, of))
    return count
