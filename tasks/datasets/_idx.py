"""MNIST and its look-alikes as they lie on disk: four idx files of 28x28 grey images under `<root>/<dataset>/raw`.

torchvision is asked for a download only: importing it takes longer than reading the files. Knows nothing of classes
beyond how many there are.
"""

import struct
import sys
import tempfile
from contextlib import redirect_stdout
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tasks.types import DataError, DataRoot, Labels

_PREFIX = {"train": "train", "test": "t10k"}
_COUNT = {"train": 60_000, "test": 10_000}
_CLASSES = 10


def read_idx(dataset: str, split: str, root: DataRoot) -> tuple[Tensor, Labels]:
    """The images, uint8 (count, 1, 28, 28), and the labels, int64 (count,), of one split, in the order of the file.

    `dataset` is torchvision's name of class and folder. Raises DataError where a file is missing, torn or foreign.
    """
    folder = root.path / dataset / "raw"
    paths = [folder / f"{_PREFIX[split]}-{part}-ubyte" for part in ("images-idx3", "labels-idx1")]
    _make_sure_of(paths, dataset, root)
    count = _COUNT[split]
    images = _array(paths[0], (count, 28, 28)).unsqueeze(1)
    labels = _array(paths[1], (count,)).long()
    if (highest := int(labels.max())) >= _CLASSES:
        raise DataError(f"{paths[1]}: holds label {highest}, but labels go from 0 to {_CLASSES - 1}")
    return images, labels


def _make_sure_of(paths: list[Path], dataset: str, root: DataRoot) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing and root.download:
        _download(dataset, root.path)
    elif missing:
        raise DataError(
            f"{dataset}: missing in {missing[0].parent}: {', '.join(path.name for path in missing)}. "
            "Put them there (decompressed, under these names), or let --download fetch them"
        )


def _download(dataset: str, root: Path) -> None:
    """Fetch the four files aside and move each into place, so that a worker beside this one never reads half a file."""
    from torchvision import datasets  # noqa: PLC0415 - slow to import, and rarely needed

    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as aside, redirect_stdout(sys.stderr):
            getattr(datasets, dataset)(aside, download=True)
            folder = root / dataset / "raw"
            folder.mkdir(parents=True, exist_ok=True)
            for path in (Path(aside) / dataset / "raw").glob("*-ubyte"):
                path.replace(folder / path.name)
    except (RuntimeError, OSError, ValueError, HTTPException) as error:
        raise DataError(f"{dataset}: the download into {root} failed: {str(error).strip()}") from error


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
