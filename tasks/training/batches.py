"""The images of a training: kept whole on the device, held out, mixed with generated ones, and cut into batches.

A batch is one selection of rows from a tensor, so that no loader is ever waited for. Knows nothing of models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.amounts import num_held_out, too_few
from tasks.given import as_pixels
from tasks.model import derive_seed
from tasks.refusals import refuse
from tasks.types import Images, Labels, Split, TaskError


@dataclass(frozen=True)
class Data:
    """Images as the split holds them, and labels, on the device they are used on."""

    images: Tensor
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Tensor | slice) -> tuple[Images, Labels]:
        """Pixels in [0, 1], float32, and labels."""
        images, labels = (self.images[rows], self.labels[rows]) if isinstance(rows, slice) else self._selected(rows)
        return as_pixels(images, torch.float32), labels

    def subset(self, rows: Tensor) -> "Data":
        """Some of it, in the order of `rows`."""
        return Data(*self._selected(rows))

    def _selected(self, rows: Tensor) -> tuple[Tensor, Labels]:
        # Indexing by a tensor does the same, and copies single bytes ten times as slowly.
        rows = rows.to(self.labels.device)
        return self.images.index_select(0, rows), self.labels.index_select(0, rows)


def on(device: torch.device, split: Split) -> Data:
    """A split on a device, without the generated images that may belong to it."""
    return Data(split.images.to(device), split.labels.to(device))


class Epochs:
    """What is trained on, epoch by epoch: the order of each is a function of seed and epoch alone.

    Of `train` a share `validation`, drawn once, is `held_out`; `samples` of the others, drawn once, are trained on
    (None: all). Generated images that belong to the split take the place of their share in every epoch. Raises
    TaskError where a part would be empty, or there are not as many.
    """

    def __init__(self, train: Split, device: torch.device, seed: int, validation: float, samples: int | None) -> None:
        kept, self.held_out = _hold_out(on(device, train), validation, seed)
        self._own = _some(kept, samples, seed)
        self._seed = seed
        self._num_generated = round(train.mix.share * len(self)) if train.mix else 0
        if train.mix and self._num_generated:
            self._generated = Data(train.mix.images.to(device), train.mix.labels.to(device))

    def __len__(self) -> int:
        """Images in an epoch."""
        return len(self._own)

    def batches(self, epoch: int, size: int, *, least: int = 1) -> Iterator[tuple[Images, Labels]]:
        """The batches of an epoch, counted from 1, as `Data.batch` gives them; the last may be smaller.

        One of fewer than `least` images joins the batch before, if there is one.
        """
        generator = torch.Generator().manual_seed(derive_seed(self._seed, f"order {epoch}"))
        order = torch.randperm(len(self), generator=generator)
        if not self._num_generated:
            # The whole order is moved at once: each copy to a GPU costs as much as a small batch.
            yield from map(self._own.batch, _cut(order.to(self._own.labels.device), size, least))
            return
        drawn = _drawn(len(self._generated), self._num_generated, generator)
        order = torch.cat([order[self._num_generated :], len(self) + drawn])
        for rows in _cut(order[torch.randperm(len(self), generator=generator)], size, least):
            yield self._mixed(rows)

    def _mixed(self, rows: Tensor) -> tuple[Images, Labels]:
        """A batch of both: originals first, then generated images, which are counted from the last original."""
        generated = rows >= len(self)
        own, other = self._own.batch(rows[~generated]), self._generated.batch(rows[generated] - len(self))
        return torch.cat([own[0], other[0]]), torch.cat([own[1], other[1]])


def _cut(order: Tensor, size: int, least: int) -> Sequence[Tensor]:
    """Batches of `size` rows, the last smaller but of at least so many, unless it is all there is."""
    batches = torch.split(order, size)
    if len(batches) == 1 or len(batches[-1]) >= least:
        return batches
    return [*batches[:-2], torch.cat(batches[-2:])]


def _drawn(there: int, count: int, generator: torch.Generator) -> Tensor:
    """So many rows out of those there are: none a second time before all have been drawn."""
    rounds = -(-count // there)
    return torch.cat([torch.randperm(there, generator=generator) for _ in range(rounds)])[:count]


def _hold_out(data: Data, share: float, seed: int) -> tuple[Data, Data]:
    """What is left to train on, and the share that is held out of it."""
    refuse(TaskError, too_few(len(data), share, None))
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(derive_seed(seed, "validation")))
    held_out, kept = rows.tensor_split([num_held_out(len(data), share)])
    return (data.subset(kept) if share else data), data.subset(held_out)


def _some(data: Data, samples: int | None, seed: int) -> Data:
    """So many of the images, drawn with the cell's seed."""
    if samples is None:
        return data
    refuse(TaskError, too_few(len(data), 0.0, samples))
    drawn = torch.randperm(len(data), generator=torch.Generator().manual_seed(derive_seed(seed, "samples")))
    return data.subset(drawn[:samples])
