"""Handwritten digits, 8x8 grey, which come with scikit-learn: nothing to download."""

import torch

from tasks.registry import component
from tasks.types import DataRoot, Split

_TRAIN = 1_200


@component(
    "dataset",
    version=1,
    paper="https://doi.org/10.24432/C50P49",
    samples=597,
    train_samples=1_200,
    shape=(1, 8, 8),
    classes=10,
)
def digits(split: str, root: DataRoot) -> Split:
    """scikit-learn's digits: the first 1,200 images to train on, the last 597 to test on, in the package's order.

    Images are float32: the package's 0..16 divided by 16. Mean and std are those of the training images.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import

    packaged = load_digits()
    part = slice(None, _TRAIN) if split == "train" else slice(_TRAIN, None)
    images = torch.from_numpy(packaged.images[part] / 16).float().unsqueeze(1)
    labels = torch.from_numpy(packaged.target[part]).long()
    return Split(images, labels, tuple("0123456789"), mean=(0.30633219,), std=(0.37548628,))
