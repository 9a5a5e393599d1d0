"""Small photographs of ten kinds of things, 32x32 in colour."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from tasks.datasets._download import downloading, move
from tasks.datasets._records import read_records
from tasks.registry import component
from tasks.types import DataError, DataRoot, Labels, Split

_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
_FOLDER = "cifar-10-batches-bin"
_FILES = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
_ROWS = 10_000
"""In each file."""
_ROW = 1 + 3 * 32 * 32
"""Bytes: the label, then the red, the green and the blue pixels."""
_JPEG_FOLDER = "cifar10-jpeg"
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_MEAN = (0.4914, 0.4822, 0.4465)
_STD = (0.2023, 0.1994, 0.2010)


@component(
    "dataset",
    version=1,
    paper="https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf",
    samples=10_000,
    train_samples=50_000,
    shape=(3, 32, 32),
    classes=10,
    files={
        "train": {
            "jpeg": {
                False: (
                    "cifar-10-batches-bin/data_batch_1.bin",
                    "cifar-10-batches-bin/data_batch_2.bin",
                    "cifar-10-batches-bin/data_batch_3.bin",
                    "cifar-10-batches-bin/data_batch_4.bin",
                    "cifar-10-batches-bin/data_batch_5.bin",
                ),
                True: ("cifar10-jpeg/train*.parquet",),
            }
        },
        "test": {
            "jpeg": {
                False: ("cifar-10-batches-bin/test_batch.bin",),
                True: ("cifar10-jpeg/train*.parquet", "cifar10-jpeg/test*.parquet"),
            }
        },
    },
    fetched={"jpeg": {False: True, True: False}},
)
def cifar10(split: str, root: DataRoot, *, jpeg: bool = False) -> Split:
    """CIFAR-10: 50,000 training and 10,000 test images of ten classes, from the files of its binary version.

    Those lie in `cifar-10-batches-bin`; torchvision's `cifar-10-batches-py` is not read, since nothing is unpickled.
    `jpeg: true` takes the re-encoded images in `cifar10-jpeg/{train,test}.parquet` instead, whose pixels differ.
    The std (0.2023, 0.1994, 0.2010), though in general use, is the mean over images of each image's own; that of all
    pixels is (0.2470, 0.2435, 0.2616). Raises DataError where the files are missing, torn or foreign.
    """
    if jpeg:
        return _read_jpeg(split, root)
    folder = root.path / _FOLDER
    _make_sure_of([folder / name for name in _FILES[split]], root)
    images, labels = zip(*(_batch(folder / name) for name in _FILES[split]), strict=True)
    return Split(torch.cat(images), torch.cat(labels), _CLASSES, _MEAN, _STD)


def _read_jpeg(split: str, root: DataRoot) -> Split:
    from tasks.datasets.parquet import parquet  # noqa: PLC0415 - what reads it is slow to import, and rarely needed

    found = parquet(split, root, folder=_JPEG_FOLDER, mean=list(_MEAN), std=list(_STD))
    rows = _ROWS * len(_FILES[split])
    if (len(found.labels), found.shape, found.num_classes) != (rows, (3, 32, 32), len(_CLASSES)):
        raise DataError(
            f"{root.path / _JPEG_FOLDER}: the {split} split has {len(found.labels)} images of shape {found.shape} "
            f"and {found.num_classes} classes, not {rows} of shape (3, 32, 32) and {len(_CLASSES)}"
        )
    return replace(found, class_names=_CLASSES)


def _make_sure_of(paths: list[Path], root: DataRoot) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing and root.download:
        _download(root.path)
    elif missing:
        jpeg = (root.path / _JPEG_FOLDER).is_dir()
        raise DataError(
            f"CIFAR-10: missing in {missing[0].parent}: {', '.join(path.name for path in missing)}. "
            f"Unpack {_URL} there, or let --download fetch it"
            + (f"; `jpeg: true` reads the re-encoded images of {_JPEG_FOLDER}" if jpeg else "")
        )


def _download(root: Path) -> None:
    from torchvision.datasets.utils import download_and_extract_archive  # noqa: PLC0415 - slow to import

    with downloading("CIFAR-10", root) as aside:
        download_and_extract_archive(_URL, aside, md5=_MD5)
        move([f"{_FOLDER}/{name}" for names in _FILES.values() for name in names], aside, root)


def _batch(path: Path) -> tuple[Tensor, Labels]:
    """The images, uint8 (10,000, 3, 32, 32), and the labels, int64 (10,000,), of one file."""
    rows = read_records(path, _ROWS, _ROW)
    labels = rows[:, 0].long()
    if (highest := int(labels.max())) >= len(_CLASSES):
        row = int(labels.argmax())
        raise DataError(f"{path}: row {row} holds label {highest}, but labels go from 0 to {len(_CLASSES) - 1}")
    return rows[:, 1:].reshape(-1, 3, 32, 32), labels
