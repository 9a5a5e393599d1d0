"""The samples that a task is given: as pixels on the model's device, a row each, and gone through in batches.

Knows nothing of what is done with them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from tasks.per_sample import PerSample
from tasks.types import Columns, Images, Labels


@dataclass(frozen=True)
class Given(PerSample):
    """A row for each sample, or for each sample and target: `samples` are indices in their split, (n,) int64.

    `targets` are the classes aimed at, (n,) int64; None for what aims at no class.
    """

    pixels: Images
    labels: Labels
    samples: Tensor
    targets: Labels | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @classmethod
    def on(cls, like: Tensor, images: Tensor, labels: Labels, samples: Tensor) -> Self:
        """What there is, on the device of `like`, with pixels of its type; see `as_pixels`."""
        labels, samples = (given.to(like.device, torch.int64) for given in (labels, samples))
        return cls(as_pixels(images.to(like.device), like.dtype), labels, samples)


def as_pixels(images: Tensor, dtype: torch.dtype) -> Images:
    """Pixels in [0, 1], in memory of their own, of images as a split has them: uint8 in 0..255, or floats in [0, 1]."""
    return images.to(dtype, copy=True) if images.is_floating_point() else images.to(dtype).div_(255)


def in_batches(work: Callable[[slice], Columns], count: int, batch_size: int) -> Columns:
    """Call `work` on consecutive slices of 0..count and join its columns, on the CPU; {} for no samples.

    When CUDA runs out of memory the batch is halved, down to one, and the work goes on where it was.
    """
    done: list[Columns] = []
    start = 0
    while start < count:
        stop = min(start + batch_size, count)
        try:
            done.append({name: column.cpu() for name, column in work(slice(start, stop)).items()})
            start = stop
        except torch.OutOfMemoryError:
            if stop - start == 1:
                raise
            batch_size = (stop - start + 1) // 2
            torch.cuda.empty_cache()
    return {name: torch.cat([columns[name] for columns in done]) for name in (done[0] if done else ())}
