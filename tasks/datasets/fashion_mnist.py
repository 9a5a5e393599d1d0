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


@component(
    "dataset",
    version=1,
    paper="https://arxiv.org/abs/1708.07747",
    samples=10_000,
    train_samples={"train_on": {"train": 60_000, "test": 10_000}},
    shape=(1, 28, 28),
    classes=10,
    files={
        "train": {
            "train_on": {
                "train": ("FashionMNIST/raw/train-images-idx3-ubyte", "FashionMNIST/raw/train-labels-idx1-ubyte"),
                "test": ("FashionMNIST/raw/t10k-images-idx3-ubyte", "FashionMNIST/raw/t10k-labels-idx1-ubyte"),
            }
        },
        "test": ("FashionMNIST/raw/t10k-images-idx3-ubyte", "FashionMNIST/raw/t10k-labels-idx1-ubyte"),
    },
    fetched=True,
    digests={
        "FashionMNIST/raw/train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "FashionMNIST/raw/t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)
def fashion_mnist(split: str, root: DataRoot, *, train_on: Literal["train", "test"] = "train") -> Split:
    """Fashion-MNIST: 60,000 training and 10,000 test images of ten articles; mean 0.2860, std 0.3205.

    `train_on: test` makes the test images the training images too, as the code of the softRmax thesis (Ingendaa
    2024) does. The test split is the same either way. Raises DataError where the files are missing or torn.
    """
    images, labels = read_idx("FashionMNIST", train_on if split == "train" else split, root)
    return Split(images, labels, _CLASSES, mean=(0.2860,), std=(0.3205,))
