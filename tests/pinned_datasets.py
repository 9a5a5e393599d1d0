"""The numbers of datasets: what is read from small files in the published formats, and from real ones that are there.

The small ones take the place of files of hundreds of megabytes: what says how many images these hold is smaller
meanwhile, and nothing else of a dataset is touched.
"""

import hashlib
import io
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pinned import Case, Found
from pinned_choices import choices
from scipy.io import savemat
from trainings import REAL

from tasks.config import Component, Json
from tasks.model import make
from tasks.registry import Description
from tasks.types import DataRoot, Split

COUNT = {"train": 12, "test": 6}
_REAL = ("mnist", "fashion_mnist", "mnist_3_7")


@dataclass(frozen=True)
class Bench:
    """What writes small files under a root, and what stands for "module.name" meanwhile.

    What is known of the files only when they are written comes back from `write`, likewise.
    """

    write: Callable[[Path], Mapping[str, Any] | None]
    instead: Mapping[str, Any] = field(default_factory=dict)


def dataset_cases(description: Description) -> Iterator[Case]:
    """Every choice on small files, and the defaults on real ones. A dataset without small files is read as it is."""
    first, *others = choices(description)
    small = description.name in BENCHES
    yield from (Case({"files": "small" if small else "as they are"}, each) for each in (first, *others))
    if description.name in _REAL:
        yield Case({"files": "real"}, first)


def is_absent(case: Case, name: str) -> bool:
    """Whether real files would have to be there, and are not."""
    folder = {"fashion_mnist": "FashionMNIST"}.get(name, "MNIST")
    return case.under["files"] == "real" and not (REAL.path / folder).is_dir()


def dataset(name: str, under: Mapping[str, Json], parameters: Mapping[str, Json]) -> Found:
    """Shapes, digests of pixels and labels, class names and statistics of both splits."""
    chosen = Component("dataset", name, 1, parameters)
    found: dict[str, Json] = {}
    with _files(name, str(under["files"])) as root:
        for split in ("train", "test"):
            seen = make(chosen, split, root)  # without a look at how many images the files of the real size have
            found |= {f"{split} {key}": value for key, value in _described(seen).items()}
    return found


def _described(split: Split) -> Found:
    return {
        "shape": list(split.images.shape),
        "type": str(split.images.dtype),
        "images": _digest(split.images.contiguous().numpy()),
        "labels": _digest(split.labels.numpy()),
        "first_labels": split.labels[:6].tolist(),
        "classes": _digest(np.frombuffer("\n".join(split.class_names).encode(), np.uint8)),
        "mean": list(split.mean),
        "std": list(split.std),
    }


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


@contextmanager
def _files(name: str, which: str) -> Iterator[DataRoot]:
    if which != "small":
        yield REAL
        return
    bench = BENCHES[name]
    with tempfile.TemporaryDirectory() as folder, _standing_in(bench.instead):
        digests = bench.write(Path(folder))
        with _standing_in(digests or {}):
            yield DataRoot(Path(folder))


@contextmanager
def _standing_in(instead: Mapping[str, Any]) -> Iterator[None]:
    places = [(import_module(f"tasks.datasets.{key.split('.')[0]}"), key.split(".")[1]) for key in instead]
    before = [getattr(module, name) for module, name in places]
    try:
        for (module, name), value in zip(places, instead.values(), strict=True):
            setattr(module, name, value)
        yield
    finally:
        for (module, name), value in zip(places, before, strict=True):
            setattr(module, name, value)


def _bytes(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _records(root: Path, files: Mapping[str, int], labels: tuple[int, ...]) -> None:
    """A row per image: its labels, then its red, green and blue pixels."""
    for seed, (file, count) in enumerate(files.items()):
        rows = _bytes(seed, count, len(labels) + 3072)
        for place, classes in enumerate(labels):
            rows[:, place] %= classes
        (root / file).parent.mkdir(exist_ok=True)
        rows.tofile(root / file)


def _idx(root: Path, folder: str, prefix: Mapping[str, str], classes: int) -> None:
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for seed, (split, count) in enumerate(COUNT.items()):
        parts = {"images-idx3": _bytes(seed, count, 28, 28), "labels-idx1": _bytes(seed + 9, count) % classes}
        for part, array in parts.items():
            header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
            (raw / f"{prefix[split]}-{part}-ubyte").write_bytes(header + array.tobytes())


def _cifar10(root: Path) -> None:
    batches = {f"cifar-10-batches-bin/data_batch_{number}.bin": 6 for number in range(1, 6)}
    _records(root, {**batches, "cifar-10-batches-bin/test_batch.bin": 6}, (10,))
    rows = {"train": range(30), "test": range(6)}
    pictures = {split: [_encoded(_plain(row, 32), "JPEG") for row in some] for split, some in rows.items()}
    _parquet(root / "cifar10-jpeg", {split: (pictures[split], [row % 10 for row in rows[split]]) for split in rows})


def _cifar100(root: Path) -> None:
    _records(root, {f"cifar-100-binary/{split}.bin": count for split, count in COUNT.items()}, (20, 100))


def _plain(seed: int, side: int) -> np.ndarray:
    """One colour throughout: what a JPEG makes of more depends on who decodes it."""
    return np.broadcast_to(_bytes(seed, 3), (side, side, 3)).copy()


def _encoded(pixels: np.ndarray, kind: str) -> bytes:
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, kind)
    return made.getvalue()


def _parquet(folder: Path, splits: Mapping[str, tuple[list[bytes], list[int]]]) -> None:
    folder.mkdir()
    for split, (images, labels) in splits.items():
        column = [{"bytes": image, "path": "a"} for image in images]
        pq.write_table(pa.table({"image": column, "label": labels}), folder / f"{split}.parquet")


def _photos(root: Path) -> None:
    images = {split: [_encoded(_bytes(row, 6, 5, 3), "PNG") for row in range(count)] for split, count in COUNT.items()}
    _parquet(root / "photos", {split: (made, [row % 3 for row in range(len(made))]) for split, made in images.items()})


def _folders(root: Path) -> None:
    """Classes whose folders, and files, are not written in the order in which they come."""
    for split, count in COUNT.items():
        for row in range(count):
            path = root / "photos" / split / ("eel", "cat", "bat")[row % 3] / f"{count - row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(_bytes(row, 6, 5, 3)).save(path)


def _svhn(root: Path) -> Mapping[str, Any]:
    digests = {}
    for seed, (split, count) in enumerate(COUNT.items()):
        path, labels = root / f"{split}_32x32.mat", (np.arange(count, dtype=np.uint8) % 10 + 1)[:, None]
        savemat(path, {"X": _bytes(seed, 32, 32, 3, count), "y": labels}, do_compression=True)
        digests[split] = hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324 - the publisher's
    return {"svhn._MD5": digests}


def _tiny(root: Path) -> None:
    place, names = root / "tiny-imagenet-200", ("n02124075", "n01443537", "n04067472")
    for number, name in enumerate(names):
        for image in range(4):
            path = place / "train" / name / "images" / f"{name}_{image}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_encoded(_plain(10 * number + image, 64), "JPEG"))
    (place / "val" / "images").mkdir(parents=True)
    for image in range(6):
        (place / "val" / "images" / f"val_{image}.JPEG").write_bytes(_encoded(_plain(100 + image, 64), "JPEG"))
    rows = [f"val_{image}.JPEG\t{names[image % 3]}\t0\t0\t9\t9\n" for image in (3, 0, 5, 1, 4, 2)]
    (place / "val" / "val_annotations.txt").write_text("".join(rows))
    (place / "wnids.txt").write_text("\n".join(names))
    (place / "words.txt").write_text("".join(f"{name}\tword {name}\n" for name in names))


_idx_module, _emnist = import_module("tasks.datasets._idx"), import_module("tasks.datasets.emnist")
_MNIST = {"train": "train", "test": "t10k"}
_FEW = {"_idx.Layout": partial(_idx_module.Layout, count=COUNT)}
BENCHES: Mapping[str, Bench] = {
    "cifar10": Bench(_cifar10, {"cifar10._ROWS": 6}),
    "cifar100": Bench(_cifar100, {"cifar100._COUNT": COUNT}),
    "emnist": Bench(
        lambda root: _idx(root, "EMNIST", _emnist._LAYOUT.prefix, 62),
        {"emnist._LAYOUT": replace(_emnist._LAYOUT, count=COUNT)},
    ),
    "fashion_mnist": Bench(lambda root: _idx(root, "FashionMNIST", _MNIST, 10), _FEW),
    "imagefolder": Bench(_folders),
    "kmnist": Bench(lambda root: _idx(root, "KMNIST", _MNIST, 10), _FEW),
    "mnist": Bench(lambda root: _idx(root, "MNIST", _MNIST, 10), _FEW),
    "mnist_3_7": Bench(lambda root: _idx(root, "MNIST", _MNIST, 10), _FEW),
    "parquet": Bench(_photos),
    "svhn": Bench(_svhn),
    "tiny_imagenet": Bench(_tiny, {"tiny_imagenet._CLASSES": 3, "tiny_imagenet._TRAIN": 4, "tiny_imagenet._TEST": 6}),
}
