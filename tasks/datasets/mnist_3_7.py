"""The binary task of telling handwritten threes from sevens."""

from dataclasses import replace

from tasks.datasets.mnist import mnist
from tasks.registry import component
from tasks.types import DataRoot, Split


@component(
    "dataset",
    version=1,
    paper="https://doi.org/10.1109/5.726791",
    samples=2_038,
    train_samples=12_396,
    shape=(1, 28, 28),
    classes=2,
    files={
        "train": ("MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/train-labels-idx1-ubyte"),
        "test": ("MNIST/raw/t10k-images-idx3-ubyte", "MNIST/raw/t10k-labels-idx1-ubyte"),
    },
    fetched=True,
    digests={
        "MNIST/raw/train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "MNIST/raw/t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)
def mnist_3_7(split: str, root: DataRoot) -> Split:
    """MNIST's threes (class 0) and sevens (class 1) alone, in MNIST's order: 12,396 to train on, 2,038 to test on.

    The mean and std are those of all of MNIST, as in the softRmax thesis (Ingendaa 2024). Raises what `mnist` raises.
    """
    whole = mnist(split, root)
    kept = (whole.labels == 3) | (whole.labels == 7)
    labels = (whole.labels[kept] == 7).long()
    return replace(whole, images=whole.images[kept], labels=labels, class_names=("3", "7"))
