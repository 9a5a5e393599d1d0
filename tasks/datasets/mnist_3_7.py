"""The binary task of telling handwritten threes from sevens."""

from dataclasses import replace

from tasks.datasets.mnist import mnist
from tasks.registry import component
from tasks.types import DataRoot, Split


@component("dataset", version=1, paper="https://doi.org/10.1109/5.726791", samples=2_038)
def mnist_3_7(split: str, root: DataRoot) -> Split:
    """MNIST's threes (class 0) and sevens (class 1) alone, in MNIST's order: 12,396 to train on, 2,038 to test on.

    The mean and std are those of all of MNIST, as in the softRmax thesis (Ingendaa 2024). Raises what `mnist` raises.
    """
    whole = mnist(split, root)
    kept = (whole.labels == 3) | (whole.labels == 7)
    labels = (whole.labels[kept] == 7).long()
    return replace(whole, images=whole.images[kept], labels=labels, class_names=("3", "7"))
