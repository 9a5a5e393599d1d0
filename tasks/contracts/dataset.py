"""What a dataset promises: images and labels in an order that is fixed for ever, and what it declares of them."""

import os
import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tasks.contracts.declared import read_as_declared, says_what_it_is
from tasks.contracts.intact import left_generator
from tasks.contracts.subject import Subject, UnaskedError, require
from tasks.facts import chosen
from tasks.model import load_split, undeclared
from tasks.types import DataError, DataRoot, Split

SPLITS = ("train", "test")
_DECLARED = ("samples", "train_samples", "shape", "classes")


def is_images_with_labels(subject: Subject) -> None:
    """Both splits are images, bytes or float32 in [0, 1], each with a label, one of the classes that are named."""
    for name in SPLITS:
        split = _split(subject, name)
        require(isinstance(split, Split), f"the {name} split is a {type(split).__name__}, not a Split")
        try:
            load_split(subject.component, name, subject.root)
        except DataError as error:
            require(False, str(error))
        require(len(set(split.class_names)) == len(split.class_names), "two classes have one name")


def is_two_splits_of_one_kind(subject: Subject) -> None:
    """Training and test split have one shape, the same classes, mean and spread, and are not the same images."""
    train, test = (_split(subject, name) for name in SPLITS)
    require(train.shape == test.shape, f"training images are {train.shape}, test images {test.shape}")
    require(train.class_names == test.class_names, "the splits name other classes")
    require((train.mean, train.std) == (test.mean, test.std), "the splits have other means or standard deviations")
    require(train.images.dtype == test.images.dtype, f"the splits are {train.images.dtype} and {test.images.dtype}")
    require(not _same(train, test), "the training split is the test split")


def is_what_it_declares(subject: Subject) -> None:
    """It has as many images in each split, of the shape and of as many classes, as it declares."""
    facts = {name: chosen(getattr(subject.facts, name), subject.parameters) for name in _DECLARED}
    if all(declared is None for declared in facts.values()):
        raise UnaskedError("it declares none of these")
    for name in SPLITS:
        wrong = undeclared(subject.component, name, _split(subject, name))
        require(not wrong, f"the {name} split: {wrong}")


def has_one_order(subject: Subject) -> None:
    """Its images come in the same order each time, whatever random numbers were drawn before."""
    for name in SPLITS:
        first = _split(subject, name)
        with torch.random.fork_rng([]):
            torch.manual_seed(1)
            states = random.getstate(), np.random.get_state()
            random.seed(1)
            np.random.seed(1)
            second = _split(subject, name)
            random.setstate(states[0])
            np.random.set_state(states[1])
        require(_same(first, second), f"loaded twice, the {name} split has other images, or another order")


def leaves_torchs_generator(subject: Subject) -> None:
    """It leaves torch's own generator where it is."""
    with left_generator():
        _split(subject, "train")


def says_what_is_missing(subject: Subject) -> None:
    """Where its files are missing it says so by a DataError, and it writes nothing that it was not told to fetch."""
    with tempfile.TemporaryDirectory() as folder:
        empty = replace(subject, root=DataRoot(Path(folder)))
        try:
            empty.make("test", empty.root)
        except DataError as error:
            require(str(error), "its DataError says nothing")
        written = os.listdir(folder)  # noqa: PTH208 - names are enough
    require(not written, f"it wrote {', '.join(written)} into the data root")


def _split(subject: Subject, name: str) -> Split:
    """One of its splits, as it gives it. Raises UnaskedError where it says that its files are not there."""
    try:
        split: Split = subject.make(name, subject.root)
    except DataError as error:
        raise UnaskedError(f"it has no data: {error}") from error
    return split


def _same(one: Split, other: Split) -> bool:
    return torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


PROMISES: tuple[Callable[[Subject], None], ...] = (
    read_as_declared,
    says_what_it_is,
    is_what_it_declares,
    is_images_with_labels,
    leaves_torchs_generator,
    has_one_order,
    is_two_splits_of_one_kind,
    says_what_is_missing,
)
"""In the order in which they are asked: what needs little comes first."""
