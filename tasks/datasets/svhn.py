"""House numbers photographed in the street, 32x32 in colour."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from tasks.datasets._download import downloading, move
from tasks.registry import component
from tasks.types import DataError, DataRoot, Split

_URL = "http://ufldl.stanford.edu/housenumbers/"
_MD5 = {"train": "e26dedcc434d2e4c54c9b2d4a06d8373", "test": "eb5a983be6a315427106f1b164d9cef3"}
_MEAN = (0.4377, 0.4438, 0.4728)
_STD = (0.1980, 0.2010, 0.1970)


@component(
    "dataset",
    version=1,
    paper="http://ufldl.stanford.edu/housenumbers/nips2011_housenumbers.pdf",
    samples=26_032,
    train_samples=73_257,
    shape=(3, 32, 32),
    classes=10,
    files={"train": ("train_32x32.mat",), "test": ("test_32x32.mat",)},
    fetched=True,
)
def svhn(split: str, root: DataRoot) -> Split:
    """SVHN, cropped digits: 73,257 training and 26,032 test images of the digits 0 to 9.

    Of "Reading Digits in Natural Images with Unsupervised Feature Learning" (Netzer et al. 2011). The files are
    `train_32x32.mat` and `test_32x32.mat` in the data root itself, where torchvision puts them; the 531,131 extra
    images are not used. Their label 10 is class 0. Each is checked against the published MD5 before it is read.
    Mean (0.4377, 0.4438, 0.4728) and std (0.1980, 0.2010, 0.1970) are the constants in common use. Raises DataError
    where a file is missing, torn or foreign.
    """
    path = root.path / f"{split}_32x32.mat"
    _make_sure_of(path, _MD5[split], root)
    from scipy.io import loadmat  # noqa: PLC0415 - slow to import

    found = loadmat(path, variable_names=("X", "y"))
    images = np.ascontiguousarray(found["X"].transpose(3, 2, 0, 1))
    labels = torch.from_numpy(found["y"][:, 0]).long() % 10
    return Split(torch.from_numpy(images), labels, tuple("0123456789"), _MEAN, _STD)


def _make_sure_of(path: Path, md5: str, root: DataRoot) -> None:
    """The published file, byte for byte: a damaged one can crash SciPy's reader, and Python with it."""
    if not path.is_file():
        _fetch(path, md5, root)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if found != md5:
        raise DataError(
            f"{path}: truncated, damaged or another file than {_URL}{path.name}: the MD5 of its "
            f"{path.stat().st_size} bytes is {found}, which should be {md5}"
        )


def _fetch(path: Path, md5: str, root: DataRoot) -> None:
    if not root.download:
        raise DataError(
            f"SVHN: missing in {root.path}: {path.name}. Put {_URL}{path.name} there, or let --download fetch it"
        )
    from torchvision.datasets.utils import download_url  # noqa: PLC0415 - slow to import

    with downloading("SVHN", root.path) as aside:
        download_url(f"{_URL}{path.name}", aside, path.name, md5)
        move([path.name], aside, root.path)
