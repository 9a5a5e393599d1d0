"""Handwritten digits, 28x28 grey."""

from tasks.datasets._idx import read_idx
from tasks.registry import component
from tasks.types import DataRoot, Split


@component(
    "dataset",
    version=1,
    paper="https://doi.org/10.1109/5.726791",
    samples=10_000,
    train_samples=60_000,
    shape=(1, 28, 28),
    classes=10,
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
def mnist(split: str, root: DataRoot) -> Split:
    """MNIST: 60,000 training and 10,000 test images of ten digits, standardised by mean 0.1307 and std 0.3081.

    `split` is "train" or "test". Raises DataError where the files are missing or torn.
    """
    images, labels = read_idx("MNIST", split, root)
    return Split(images, labels, tuple("0123456789"), mean=(0.1307,), std=(0.3081,))
