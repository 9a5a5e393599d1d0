"""Any image dataset that lies in folders, one for each class."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch

from tasks.data import outside
from tasks.datasets._inside import inside
from tasks.datasets._pictures import Decoding, mean_and_std, read_pictures
from tasks.datasets._statistics import unfit_statistics
from tasks.parameters import Count, Positive
from tasks.refusals import refuse
from tasks.registry import component
from tasks.types import DataError, DataRoot, Labels, Split

_MODES = {None: None, "rgb": "RGB", "grey": "L"}
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@component(
    "dataset",
    version=1,
    paper="https://pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html",
    files={"train": ("{folder}/{train_folder}/",), "test": ("{folder}/{train_folder}/", "{folder}/{test_folder}/")},
)
def imagefolder(
    split: str,
    root: DataRoot,
    *,
    folder: str,
    train_folder: str = "train",
    test_folder: str = "test",
    mode: Literal["rgb", "grey"] | None = None,
    side: Count | None = None,
    mean: list[float] | None = None,
    std: list[Positive] | None = None,
) -> Split:
    """Images from `<folder>/{train,test}/<class>/*.png` and so on, each class in the folder of its name.

    The layout of torchvision's ImageFolder. `folder` is inside the data root, `train_folder` and `test_folder` inside
    it. Images are the files directly in a class's folder that end in .png, .jpg, .jpeg, .webp or .bmp, in either case
    of letters; hidden files and others are let be. Their order is that of the sorted class names, then of the sorted
    file names, by the numbers of their characters: for ever the same. `mode` converts all images to one kind. `side`
    scales the shorter side to so many pixels (bilinear, with antialiasing) and takes the central square. Pixels are
    Pillow's, so those of a JPEG are exact only with the same version of its decoder.

    Classes are the folders of the training split; the test split may lack some, but has no others. `mean` and `std`
    are per channel, in units of [0, 1] pixels; whichever is not given is computed from the training images, which the
    test split then decodes as well. Nothing is downloaded. How many samples there are is not known beforehand: a spec
    gives a count. Raises DataError where files are missing, torn or foreign, or images are not all of one shape.
    """
    refuse(
        DataError,
        refuses(folder=folder, train_folder=train_folder, test_folder=test_folder, mode=mode, mean=mean, std=std),
    )
    place = inside(root.path, folder)
    train = _listed(inside(place, train_folder))
    if empty := [name for name, files in train.items() if not files]:
        raise DataError(f"{place / train_folder}: no images ({', '.join(_SUFFIXES)}) in {_names(empty)}")
    found = train if split == "train" else _listed(inside(place, test_folder))
    if strangers := sorted(set(found) - set(train)):
        raise DataError(f"{place / test_folder}: {_names(strangers)}: no such class in {train_folder}")
    paths, labels = _flat(found, list(train))
    if not paths:
        raise DataError(f"{place / test_folder}: no images ({', '.join(_SUFFIXES)}) in any class")
    decoding = Decoding(_MODES[mode], side, side)
    hint = ": all must be alike (the parameters mode and side make them so)"
    images = read_pictures(paths, decoding, hint=hint)
    if mean is None or std is None:
        measured = images if split == "train" else read_pictures(_flat(train, list(train))[0], decoding, hint=hint)
        computed_mean, computed_std = mean_and_std(measured, place)
        mean = computed_mean if mean is None else mean
        std = computed_std if std is None else std
    return Split(torch.from_numpy(images), labels, tuple(train), tuple(mean), tuple(std))


def _listed(place: Path) -> dict[str, list[Path]]:
    """The image files of each class, in order."""
    try:
        folders = sorted((path for path in place.iterdir() if _is_shown(path) and path.is_dir()), key=_name)
        listed = {path.name: sorted(filter(_is_image, path.iterdir()), key=_name) for path in folders}
    except OSError as error:
        raise DataError(f"{error.filename or place}: cannot be listed: {error.strerror or error}") from error
    if not listed:
        raise DataError(f"{place}: holds no folders: each class is one")
    return listed


def _flat(found: dict[str, list[Path]], names: list[str]) -> tuple[list[Path], Labels]:
    """All files, and the class of each."""
    paths = [path for files in found.values() for path in files]
    return paths, torch.tensor([names.index(name) for name, files in found.items() for _ in files])


def _names(names: list[str]) -> str:
    """The first few of them in words."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _name(path: Path) -> str:
    return path.name


def _is_shown(path: Path) -> bool:
    return not path.name.startswith(".")


def _is_image(path: Path) -> bool:
    return _is_shown(path) and path.suffix.lower() in _SUFFIXES and path.is_file()


def refuses(
    *,
    folder: str,
    train_folder: str,
    test_folder: str,
    mode: str | None,
    mean: list[float] | None,
    std: list[float] | None,
) -> Iterator[str]:
    """Folders that are not the data root's, and a mean or a standard deviation for other channels."""
    yield from outside(folder, train_folder, test_folder)
    yield from unfit_statistics(mode, mean, std)
