"""Small photographs of a hundred kinds of things, 32x32 in colour."""

from pathlib import Path
from typing import Literal

from torch import Tensor

from tasks.datasets._download import downloading, move
from tasks.datasets._records import read_records
from tasks.registry import component
from tasks.types import DataError, DataRoot, Labels, Split

_URL = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
_MD5 = "03b5dce01913d631647c71ecec9e9cb8"
_FOLDER = "cifar-100-binary"
_FILES = {"train": "train.bin", "test": "test.bin"}
_COUNT = {"train": 50_000, "test": 10_000}
_ROW = 2 + 3 * 32 * 32
"""Bytes: the coarse label, the fine label, then the red, the green and the blue pixels."""
_FINE = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
    motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
    poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm
    """.split()  # noqa: SIM905 - as a list it would be a hundred lines
)
_COARSE = (
    "aquatic_mammals",
    "fish",
    "flowers",
    "food_containers",
    "fruit_and_vegetables",
    "household_electrical_devices",
    "household_furniture",
    "insects",
    "large_carnivores",
    "large_man-made_outdoor_things",
    "large_natural_outdoor_scenes",
    "large_omnivores_and_herbivores",
    "medium_mammals",
    "non-insect_invertebrates",
    "people",
    "reptiles",
    "small_mammals",
    "trees",
    "vehicles_1",
    "vehicles_2",
)
_MEAN = (0.5071, 0.4865, 0.4409)
_STD = (0.2673, 0.2564, 0.2762)


@component(
    "dataset",
    version=1,
    paper="https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf",
    samples=10_000,
    train_samples=50_000,
    shape=(3, 32, 32),
    classes={"labels": {"fine": 100, "coarse": 20}},
    files={"train": ("cifar-100-binary/train.bin",), "test": ("cifar-100-binary/test.bin",)},
    fetched=True,
)
def cifar100(split: str, root: DataRoot, *, labels: Literal["fine", "coarse"] = "fine") -> Split:
    """CIFAR-100: 50,000 training and 10,000 test images of 100 classes, from the files of its binary version.

    Of "Learning Multiple Layers of Features from Tiny Images" (Krizhevsky 2009). `labels: coarse` takes the twenty
    superclasses instead. The files lie in `cifar-100-binary`; torchvision's `cifar-100-python` is not read, since
    nothing is unpickled. Mean (0.5071, 0.4865, 0.4409) and std (0.2673, 0.2564, 0.2762) are the constants in common
    use, those of all training pixels. Raises DataError where the files are missing, torn or foreign.
    """
    path = root.path / _FOLDER / _FILES[split]
    _make_sure_of(path, root)
    images, coarse, fine = _read(path, _COUNT[split])
    chosen, names = (fine, _FINE) if labels == "fine" else (coarse, _COARSE)
    return Split(images, chosen, names, _MEAN, _STD)


def _make_sure_of(path: Path, root: DataRoot) -> None:
    if path.is_file():
        return
    if not root.download:
        raise DataError(
            f"CIFAR-100: missing in {path.parent}: {path.name}. Unpack {_URL} there, or let --download fetch it"
        )
    from torchvision.datasets.utils import download_and_extract_archive  # noqa: PLC0415 - slow to import

    with downloading("CIFAR-100", root.path) as aside:
        download_and_extract_archive(_URL, aside, md5=_MD5)
        move([f"{_FOLDER}/{name}" for name in _FILES.values()], aside, root.path)


def _read(path: Path, count: int) -> tuple[Tensor, Labels, Labels]:
    """The images, uint8 (count, 3, 32, 32), and the coarse and the fine labels, int64 (count,)."""
    rows = read_records(path, count, _ROW)
    coarse, fine = rows[:, 0].long(), rows[:, 1].long()
    for kind, labels, names in (("coarse", coarse, _COARSE), ("fine", fine, _FINE)):
        if (highest := int(labels.max())) >= len(names):
            row = int(labels.argmax())
            raise DataError(f"{path}: row {row} holds {kind} label {highest}, but they go from 0 to {len(names) - 1}")
    return rows[:, 2:].reshape(-1, 3, 32, 32), coarse, fine
