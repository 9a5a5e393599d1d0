"""Handwritten digits and letters, 28x28 grey."""

import string

from tasks.datasets._idx import Layout, read_idx
from tasks.registry import component
from tasks.types import DataRoot, Split

_CLASSES = tuple(string.digits + string.ascii_uppercase + string.ascii_lowercase)
_LAYOUT = Layout(
    prefix={"train": "emnist-byclass-train", "test": "emnist-byclass-test"},
    count={"train": 697_932, "test": 116_323},
    num_classes=len(_CLASSES),
    options={"split": "byclass"},
)


@component(
    "dataset",
    version=1,
    paper="https://arxiv.org/abs/1702.05373",
    samples=116_323,
    train_samples=697_932,
    shape=(1, 28, 28),
    classes=62,
    files={
        "train": (
            "EMNIST/raw/emnist-byclass-train-images-idx3-ubyte",
            "EMNIST/raw/emnist-byclass-train-labels-idx1-ubyte",
        ),
        "test": (
            "EMNIST/raw/emnist-byclass-test-images-idx3-ubyte",
            "EMNIST/raw/emnist-byclass-test-labels-idx1-ubyte",
        ),
    },
    fetched=True,
)
def emnist(split: str, root: DataRoot) -> Split:
    """EMNIST ByClass: 697,932 training and 116,323 test images of 62 digits and letters; mean 0.1736, std 0.3317.

    Of "EMNIST: an extension of MNIST to handwritten letters" (Cohen et al. 2017). Classes are 0-9, A-Z, a-z, and far
    from equally frequent. The files are `EMNIST/raw/emnist-byclass-*-ubyte`, as torchvision lays them out. They hold
    each image transposed, which torchvision leaves so; here images are upright, as MNIST's are. A download fetches
    the archive of all of EMNIST, which takes some 3 GB while it is unpacked. Mean and std are the constants in
    common use. Raises DataError where the files are missing or torn.
    """
    images, labels = read_idx("EMNIST", split, root, _LAYOUT)
    return Split(images.mT.contiguous(), labels, _CLASSES, mean=(0.1736,), std=(0.3317,))
