"""Articles of clothing, 28x28 grey."""

from typing import Literal

from tasks.datasets._idx import read_idx
from tasks.registry import component
from tasks.types import DataRoot, Split

_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


@component("dataset", version=1, paper="https://arxiv.org/abs/1708.07747", samples=10_000)
def fashion_mnist(split: str, root: DataRoot, *, train_on: Literal["train", "test"] = "train") -> Split:
    """Fashion-MNIST: 60,000 training and 10,000 test images of ten articles; mean 0.2860, std 0.3205.

    `train_on: test` makes the test images the training images too, as the code of the softRmax thesis (Ingendaa
    2024) does. The test split is the same either way. Raises DataError where the files are missing or torn.
    """
    images, labels = read_idx("FashionMNIST", train_on if split == "train" else split, root)
    return Split(images, labels, _CLASSES, mean=(0.2860,), std=(0.3205,))
