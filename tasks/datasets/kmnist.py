"""Handwritten cursive Japanese characters, 28x28 grey."""

from tasks.datasets._idx import read_idx
from tasks.registry import component
from tasks.types import DataRoot, Split

_CLASSES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


@component(
    "dataset",
    version=1,
    paper="https://arxiv.org/abs/1812.01718",
    samples=10_000,
    train_samples=60_000,
    shape=(1, 28, 28),
    classes=10,
    files={
        "train": ("KMNIST/raw/train-images-idx3-ubyte", "KMNIST/raw/train-labels-idx1-ubyte"),
        "test": ("KMNIST/raw/t10k-images-idx3-ubyte", "KMNIST/raw/t10k-labels-idx1-ubyte"),
    },
    fetched=True,
)
def kmnist(split: str, root: DataRoot) -> Split:
    """Kuzushiji-MNIST: 60,000 training and 10,000 test images of ten characters; mean 0.1918, std 0.3483.

    Of "Deep Learning for Classical Japanese Literature" (Clanuwat et al. 2018). The files are `KMNIST/raw/*-ubyte`,
    as torchvision lays them out. Mean and std are the constants in common use. Raises DataError where the files are
    missing or torn.
    """
    images, labels = read_idx("KMNIST", split, root)
    return Split(images, labels, _CLASSES, mean=(0.1918,), std=(0.3483,))
