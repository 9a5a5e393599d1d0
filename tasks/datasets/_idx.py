"""MNIST and its look-alikes as they lie on disk: idx files of 28x28 grey images under `<root>/<dataset>/raw`.

torchvision is asked for a download only: importing it takes longer than reading the files. Knows nothing of classes
beyond how many there are.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tasks.datasets._download import downloading, move
from tasks.types import DataError, DataRoot, Labels

_PARTS = ("images-idx3", "labels-idx1")


@dataclass(frozen=True)
class Layout:
    """What the files of each split are called and hold; the defaults are MNIST's.

    `prefix` begins a split's file names, `count` is its number of images, and `options` are what torchvision's class
    takes beside a root, to download them.
    """

    prefix: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "test": "t10k"})
    count: Mapping[str, int] = field(default_factory=lambda: {"train": 60_000, "test": 10_000})
    num_classes: int = 10
    options: Mapping[str, str] = field(default_factory=dict)

    def files(self, split: str) -> list[str]:
        """The names of a split's files: its images, its labels."""
        return [f"{self.prefix[split]}-{part}-ubyte" for part in _PARTS]


def read_idx(dataset: str, split: str, root: DataRoot, layout: Layout | None = None) -> tuple[Tensor, Labels]:
    """The images, uint8 (count, 1, 28, 28), and the labels, int64 (count,), of one split, in the order of the file.

    `dataset` is torchvision's name of class and folder. Raises DataError where a file is missing, torn or foreign.
    """
    layout = layout or Layout()
    paths = [root.path / dataset / "raw" / name for name in layout.files(split)]
    _make_sure_of(paths, dataset, root, layout)
    count = layout.count[split]
    images = _array(paths[0], (count, 28, 28)).unsqueeze(1)
    labels = _array(paths[1], (count,)).long()
    if (highest := int(labels.max())) >= layout.num_classes:
        raise DataError(f"{paths[1]}: holds label {highest}, but labels go from 0 to {layout.num_classes - 1}")
    return images, labels


def _make_sure_of(paths: list[Path], dataset: str, root: DataRoot, layout: Layout) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing and root.download:
        _download(dataset, root.path, layout)
    elif missing:
        raise DataError(
            f"{dataset}: missing in {missing[0].parent}: {', '.join(path.name for path in missing)}. "
            "Put them there (decompressed, under these names), or let --download fetch them"
        )


def _download(dataset: str, root: Path, layout: Layout) -> None:
    from torchvision import datasets  # noqa: PLC0415 - slow to import, and rarely needed

    with downloading(dataset, root) as aside:
        getattr(datasets, dataset)(aside, download=True, **layout.options)
        move([f"{dataset}/raw/{name}" for split in layout.prefix for name in layout.files(split)], aside, root)


def _array(path: Path, shape: tuple[int, ...]) -> Tensor:
    """The uint8 array of an idx file: big-endian magic number 0x0800 + dimensions, each size, then the bytes."""
    try:
        raw = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    header = struct.pack(f">{1 + len(shape)}I", 0x0800 + len(shape), *shape)
    found = raw[: len(header)].tobytes()
    size = "x".join(map(str, shape))
    if found != header:
        raise DataError(
            f"{path}: is not the idx file of {size} bytes that belongs here: "
            f"it begins with {found.hex() or 'nothing'}, which should be {header.hex()}"
        )
    body = raw[len(header) :]
    if len(body) != np.prod(shape):
        wrong = "truncated" if len(body) < np.prod(shape) else "too long"
        raise DataError(f"{path}: {wrong}: its header promises {size} bytes, and {len(body)} follow")
    return torch.from_numpy(body.reshape(shape))
