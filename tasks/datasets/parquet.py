"""Any image dataset that lies in Parquet files, such as those of the Hugging Face hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch

from tasks.data import outside
from tasks.datasets._inside import inside
from tasks.datasets._parquet import find_files, read_class_names, read_images, read_labels
from tasks.datasets._pictures import Decoding, mean_and_std
from tasks.datasets._statistics import unfit_statistics
from tasks.parameters import Count, Positive
from tasks.refusals import refuse
from tasks.registry import component
from tasks.types import DataError, DataRoot, Labels, Split

_MODES = {None: None, "rgb": "RGB", "grey": "L"}


@component(
    "dataset",
    version=1,
    paper="https://huggingface.co/docs/datasets/about_dataset_features",
    files={"train": ("{folder}/train*.parquet",), "test": ("{folder}/train*.parquet", "{folder}/test*.parquet")},
)
def parquet(
    split: str,
    root: DataRoot,
    *,
    folder: str,
    image: str = "image",
    label: str = "label",
    mode: Literal["rgb", "grey"] | None = None,
    size: Count | None = None,
    crop: Count | None = None,
    mean: list[float] | None = None,
    std: list[Positive] | None = None,
) -> Split:
    """Images and labels from `<folder>/<split>.parquet`, or `<split>-00000-of-00002.parquet` and so on, in order.

    The layout of Hugging Face image datasets (https://huggingface.co/docs/datasets/about_dataset_features): `image`
    is a column of encoded images (JPEG, PNG, WebP or BMP; bytes, or struct(bytes, path)), `label` one of integers or
    text. `folder` is inside the data root. `mode` converts all images to one kind. `size` scales the shorter side to
    so many pixels (bilinear, with antialiasing), then `crop` takes the central square of that side. Pixels are
    Pillow's, so those of a JPEG are exact only with the same version of its decoder.

    Class names are those of the training files' Hugging Face schema, and else their sorted labels. `mean` and `std`
    are per channel, in units of [0, 1] pixels; whichever is not given is computed from the training images, which the
    test split then decodes as well. Nothing is downloaded. How many samples there are is not known beforehand: a spec
    gives a count. Raises DataError where files are missing, torn or foreign, or images are not all of one shape.
    """
    refuse(DataError, refuses(folder=folder, mode=mode, size=size, crop=crop, mean=mean, std=std))
    place = inside(root.path, folder)
    paths, train = find_files(place, split), find_files(place, "train")
    names, labels = _classes(train, paths, label)
    decoding = Decoding(_MODES[mode], size, crop)
    images = read_images(paths, image, decoding)
    if mean is None or std is None:
        measured = images if split == "train" else read_images(train, image, decoding)
        computed_mean, computed_std = mean_and_std(measured, place)
        mean = computed_mean if mean is None else mean
        std = computed_std if std is None else std
    return Split(torch.from_numpy(images), labels, names, tuple(mean), tuple(std))


def _classes(train: list[Path], paths: list[Path], column: str) -> tuple[tuple[str, ...], Labels]:
    """The class names, and the class of each row of `paths`."""
    found = read_labels(paths, column)
    names = read_class_names(train, column)
    known = range(len(names)) if names else sorted(set(found if paths == train else read_labels(train, column)))
    class_of = {label: index for index, label in enumerate(known)}
    if strangers := set(found) - set(class_of):
        raise DataError(
            f"{paths[0].parent}: column {column!r} holds {min(strangers)!r}, which is none of the "
            f"{len(class_of)} labels of the training split"
        )
    return names or tuple(map(str, known)), torch.tensor([class_of[label] for label in found])


def refuses(
    *,
    folder: str,
    mode: str | None,
    size: int | None,
    crop: int | None,
    mean: list[float] | None,
    std: list[float] | None,
) -> Iterator[str]:
    """A folder that is not the data root's, a square that does not fit, statistics for other channels."""
    yield from outside(folder)
    if size is not None and crop is not None and crop > size:
        yield f"crop: no square of {crop} fits into images whose shorter side is {size}"
    yield from unfit_statistics(mode, mean, std)
