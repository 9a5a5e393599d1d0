"""Handwritten digits, 28x28 grey."""

from tasks.datasets._idx import read_idx
from tasks.registry import component
from tasks.types import DataRoot, Split


@component("dataset", version=1, paper="https://doi.org/10.1109/5.726791", samples=10_000)
def mnist(split: str, root: DataRoot) -> Split:
    """MNIST: 60,000 training and 10,000 test images of ten digits, standardised by mean 0.1307 and std 0.3081.

    `split` is "train" or "test". Raises DataError where the files are missing or torn.
    """
    images, labels = read_idx("MNIST", split, root)
    return Split(images, labels, tuple("0123456789"), mean=(0.1307,), std=(0.3081,))
