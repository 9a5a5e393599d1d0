"""Datasets that break one promise each. All are small noisy images of two classes, which are drawn when asked for."""

import random
from dataclasses import replace

import torch

from broken.mark import breaks, keeps
from tasks.registry import component
from tasks.types import DataError, Split


def noisy(split):
    """Thirty images to train on, twelve to test on: class 1 is the brighter."""
    count, seed = (30, 1) if split == "train" else (12, 2)
    labels = torch.arange(count) % 2
    drawn = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return Split(0.5 * drawn + 0.5 * labels[:, None, None, None], labels, ("dark", "bright"), (0.5,), (0.3,))


@keeps
@component("dataset", version=1, samples=12, train_samples=30, shape=(1, 4, 4), classes=2)
def good(split, root):
    """Noise of two classes."""
    return noisy(split)


@keeps
@component("dataset", version=1)
def good_in_bytes(split, root):
    """Noise of two classes, in bytes."""
    whole = noisy(split)
    return replace(whole, images=(whole.images * 255).byte())


@breaks("is_images_with_labels")
@component("dataset", version=1)
def too_bright(split, root):
    """Its pixels go up to 255 in float32."""
    whole = noisy(split)
    return replace(whole, images=whole.images * 255)


@breaks("is_images_with_labels")
@component("dataset", version=1)
def in_float64(split, root):
    """Its images are float64."""
    whole = noisy(split)
    return replace(whole, images=whole.images.double())


@breaks("is_images_with_labels")
@component("dataset", version=1)
def counts_classes_from_one(split, root):
    """Its labels are counted from 1."""
    whole = noisy(split)
    return replace(whole, labels=whole.labels + 1)


@breaks("is_images_with_labels")
@component("dataset", version=1)
def lacks_a_label(split, root):
    """Its last image has no label."""
    whole = noisy(split)
    return replace(whole, labels=whole.labels[:-1])


@breaks("is_images_with_labels")
@component("dataset", version=1)
def without_spread(split, root):
    """Its standard deviation is 0."""
    return replace(noisy(split), std=(0.0,))


@breaks("is_images_with_labels")
@component("dataset", version=1)
def names_classes_alike(split, root):
    """Both of its classes have one name."""
    return replace(noisy(split), class_names=("dark", "dark"))


@breaks("is_images_with_labels")
@component("dataset", version=1)
def gives_a_pair(split, root):
    """It gives images and labels, and no Split."""
    whole = noisy(split)
    return whole.images, whole.labels


@breaks("leaves_torchs_generator")
@component("dataset", version=1)
def seeds_for_all(split, root):
    """It seeds torch's own generator, from which all others draw too."""
    torch.manual_seed(0)
    return noisy(split)


@breaks("has_one_order")
@component("dataset", version=1)
def shuffles(split, root):
    """It shuffles its images by Python's generator."""
    whole, order = noisy(split), list(range(12))
    random.shuffle(order)
    order += range(12, len(whole.labels))
    return replace(whole, images=whole.images[order], labels=whole.labels[order])


@breaks("has_one_order")
@component("dataset", version=1)
def augments(split, root):
    """It adds other noise to its images each time, from torch's own generator, and puts that back."""
    whole = noisy(split)
    with torch.random.fork_rng([]):
        return replace(whole, images=(whole.images + 0.01 * torch.rand_like(whole.images)).clamp(0, 1))


@breaks("is_two_splits_of_one_kind")
@component("dataset", version=1)
def takes_one_split_for_the_other(split, root):
    """It gives the same images to train on and to test on."""
    return noisy("test")


@breaks("is_two_splits_of_one_kind")
@component("dataset", version=1)
def standardises_each_by_itself(split, root):
    """Each of its splits has its own mean."""
    whole = noisy(split)
    return replace(whole, mean=(float(whole.images.mean()),))


@breaks("is_two_splits_of_one_kind")
@component("dataset", version=1)
def names_other_classes(split, root):
    """The classes of its splits are in another order."""
    whole = noisy(split)
    return whole if split == "train" else replace(whole, class_names=whole.class_names[::-1])


@breaks("is_what_it_declares")
@component("dataset", version=1, samples=30)
def declares_other_samples(split, root):
    """It declares the number of its training images for that of its test images."""
    return noisy(split)


@breaks("is_what_it_declares")
@component("dataset", version=1, train_samples=12)
def declares_other_training_samples(split, root):
    """It declares the number of its test images for that of its training images."""
    return noisy(split)


@breaks("is_what_it_declares")
@component("dataset", version=1, shape=(4, 4, 1))
def declares_another_shape(split, root):
    """It declares the channels last."""
    return noisy(split)


@breaks("is_what_it_declares")
@component("dataset", version=1, classes=10)
def declares_other_classes(split, root):
    """It declares more classes than it has."""
    return noisy(split)


@breaks("says_what_is_missing")
@component("dataset", version=1)
def fails_without_a_word(split, root):
    """Where its file is missing it raises what opening it raises."""
    if not (root.path / "README.md").is_file():
        raise FileNotFoundError(root.path / "README.md")
    return noisy(split)


@breaks("says_what_is_missing")
@component("dataset", version=1)
def writes_a_cache(split, root):
    """It writes a file into the data root, where it was told to fetch nothing."""
    if not (root.path / "README.md").is_file():
        (root.path / "cache").write_text("noise")
        raise DataError("README.md is missing")
    return noisy(split)
