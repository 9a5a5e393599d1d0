"""Photographs of two hundred kinds of things, 64x64 in colour."""

from pathlib import Path

import torch

from tasks.datasets._pictures import Decoding, read_pictures, several
from tasks.registry import component
from tasks.types import DataError, DataRoot, Labels, Split

_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
_FOLDER = "tiny-imagenet-200"
_CLASSES = 200
_TRAIN = 500
"""Of each class."""
_TEST = 10_000
_SHAPE = (3, 64, 64)
_MEAN = (0.4802, 0.4481, 0.3975)
_STD = (0.2770, 0.2691, 0.2821)


@component(
    "dataset",
    version=1,
    paper="http://vision.stanford.edu/teaching/cs231n/reports/2015/pdfs/yle_project.pdf",
    samples=10_000,
    train_samples=100_000,
    shape=(3, 64, 64),
    classes=200,
    files={
        "train": ("tiny-imagenet-200/wnids.txt", "tiny-imagenet-200/words.txt", "tiny-imagenet-200/train/"),
        "test": (
            "tiny-imagenet-200/wnids.txt",
            "tiny-imagenet-200/words.txt",
            "tiny-imagenet-200/val/images/",
            "tiny-imagenet-200/val/val_annotations.txt",
        ),
    },
)
def tiny_imagenet(split: str, root: DataRoot) -> Split:
    """Tiny ImageNet: 100,000 training and 10,000 test images of 200 classes, 64x64.

    Of "Tiny ImageNet Visual Recognition Challenge" (Le and Yang 2015). The test split is the published validation
    images, since the published test images have no labels. The files are those of the published archive, unpacked
    into the data root: `tiny-imagenet-200/train/<wnid>/images/*.JPEG`, `val/images`, `val/val_annotations.txt`,
    `wnids.txt` and `words.txt`. Classes are in the order of their sorted WordNet ids. Training images come class by
    class, each by sorted file name; test images in the order of `val_annotations.txt`. Grey images are made RGB.
    Pixels are Pillow's, and exact only with the same version of its JPEG decoder. Nothing is downloaded.
    Mean (0.4802, 0.4481, 0.3975) and std (0.2770, 0.2691, 0.2821) are the constants in common use. Raises DataError
    where files are missing, torn or foreign.
    """
    place = root.path / _FOLDER
    _make_sure_of(place, split)
    wnids = sorted(_lines(place / "wnids.txt"))
    if len(set(wnids)) != _CLASSES or len(wnids) != _CLASSES:
        raise DataError(f"{place / 'wnids.txt'}: lists {len(set(wnids))} different classes, not {_CLASSES}")
    words = dict(line.partition("\t")[::2] for line in _lines(place / "words.txt"))
    if unnamed := [wnid for wnid in wnids if wnid not in words]:
        raise DataError(f"{place / 'words.txt'}: has no words for {', '.join(unnamed[:5])}")
    paths, labels = _train(place / "train", wnids) if split == "train" else _test(place / "val", wnids)
    images = read_pictures(paths, Decoding("RGB"), _SHAPE)
    return Split(torch.from_numpy(images), labels, tuple(words[wnid] for wnid in wnids), _MEAN, _STD)


def _make_sure_of(place: Path, split: str) -> None:
    needed = ["wnids.txt", "words.txt", *(["train"] if split == "train" else ["val/images", "val/val_annotations.txt"])]
    if missing := [name for name in needed if not (place / name).exists()]:
        raise DataError(
            f"Tiny ImageNet: missing in {place}: {', '.join(missing)}. Unpack {_URL} into {place.parent}: "
            "it is not downloaded for you"
        )


def _train(place: Path, wnids: list[str]) -> tuple[list[Path], Labels]:
    """The files, class by class, and their classes."""
    listed = [[place / wnid / "images" / name for name in _names(place / wnid / "images")] for wnid in wnids]
    problems = [
        f"{place / wnid / 'images'}: {len(files)} images, not {_TRAIN}"
        for wnid, files in zip(wnids, listed, strict=True)
        if len(files) != _TRAIN
    ]
    if problems:
        raise DataError(several(problems))
    return [path for files in listed for path in files], torch.arange(len(wnids)).repeat_interleave(_TRAIN)


def _test(place: Path, wnids: list[str]) -> tuple[list[Path], Labels]:
    """The files in the order of their annotations, each `name <tab> wnid <tab> box`, and their classes."""
    annotations = place / "val_annotations.txt"
    rows = [[*line.split("\t"), ""][:2] for line in _lines(annotations)]
    if len({name for name, _ in rows}) != _TEST or len(rows) != _TEST:
        raise DataError(f"{annotations}: labels {len(rows)} images, not {_TEST} different ones")
    class_of = {wnid: index for index, wnid in enumerate(wnids)}
    there = set(_names(place / "images"))
    problems = [
        f"{annotations}: line {number}: class {wnid!r} is not in wnids.txt"
        for number, (_, wnid) in enumerate(rows, 1)
        if wnid not in class_of
    ]
    problems += [f"{place / 'images' / name}: missing" for name, _ in rows if name not in there]
    if problems:
        raise DataError(several(problems))
    return [place / "images" / name for name, _ in rows], torch.tensor([class_of[wnid] for _, wnid in rows])


def _names(folder: Path) -> list[str]:
    """The image files of a folder by sorted name; none where there is no such folder."""
    try:
        names = sorted(path.name for path in folder.iterdir() if path.suffix == ".JPEG")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror or error}") from error
    return [name for name in names if not name.startswith(".")]


def _lines(path: Path) -> list[str]:
    """The lines that are not empty."""
    try:
        # Replaced letters can only be in words, which nothing depends on.
        return [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
