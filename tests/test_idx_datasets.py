"""The look-alikes of MNIST: KMNIST and EMNIST from idx files, and how each is downloaded."""

import gzip
import hashlib
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from served import served

from tasks.config import Component
from tasks.datasets import emnist as emnist_module
from tasks.datasets.emnist import emnist
from tasks.datasets.kmnist import kmnist
from tasks.model import load_split
from tasks.registry import describe
from tasks.types import DataError, DataRoot

COUNT = {"train": 60, "test": 40}
EMNIST_FILES = [f"emnist-byclass-{split}-{part}-ubyte" for split in COUNT for part in ("images-idx3", "labels-idx1")]


def header(*shape: int) -> bytes:
    return struct.pack(f">{1 + len(shape)}I", 0x0800 + len(shape), *shape)


def idx(array: np.ndarray) -> bytes:
    return header(*array.shape) + array.astype(np.uint8).tobytes()


def sparse(path, *shape: int) -> None:
    """A file of the published size, all zeros after its header."""
    path.write_bytes(header(*shape))
    with path.open("r+b") as file:
        file.truncate(len(header(*shape)) + int(np.prod(shape)))


@pytest.fixture
def small(monkeypatch):
    """EMNIST files of 60 and 40 images."""
    monkeypatch.setattr(emnist_module, "_LAYOUT", replace(emnist_module._LAYOUT, count=COUNT))


def emnist_files() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {}
    for split, count in COUNT.items():
        made[f"emnist-byclass-{split}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        made[f"emnist-byclass-{split}-labels-idx1-ubyte"] = rng.integers(0, 62, count, dtype=np.uint8)
    return made


def write_emnist(root) -> dict[str, np.ndarray]:
    (root / "EMNIST" / "raw").mkdir(parents=True)
    made = emnist_files()
    for name, array in made.items():
        (root / "EMNIST" / "raw" / name).write_bytes(idx(array))
    return made


def write_kmnist(root, images: np.ndarray, labels: np.ndarray) -> DataRoot:
    (root / "KMNIST" / "raw").mkdir(parents=True)
    (root / "KMNIST" / "raw" / "t10k-images-idx3-ubyte").write_bytes(idx(images))
    (root / "KMNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(idx(labels))
    return DataRoot(root)


def test_kmnist_is_read_as_mnist_is_from_its_own_folder(tmp_path):
    rng = np.random.default_rng(1)
    images, labels = rng.integers(0, 256, (10_000, 28, 28), dtype=np.uint8), rng.integers(0, 10, 10_000)
    root = write_kmnist(tmp_path, images, labels)
    test = load_split(Component("dataset", "kmnist", 1, {}), "test", root)
    assert np.array_equal(test.images[:, 0].numpy(), images)
    assert test.labels.tolist() == labels.tolist()
    assert (test.shape, test.num_classes, test.class_names[9]) == ((1, 28, 28), 10, "wo")
    assert (test.mean, test.std) == ((0.1918,), (0.3483,))
    assert describe("dataset", "kmnist").facts.samples == len(test.labels)


def test_missing_kmnist_files_are_looked_for_in_its_own_folder(tmp_path):
    with pytest.raises(DataError, match=rf"KMNIST: missing in {tmp_path}/KMNIST/raw: train-images-idx3-ubyte, train-l"):
        kmnist("train", DataRoot(tmp_path))


def test_kmnist_has_ten_classes(tmp_path):
    labels = np.zeros(10_000)
    labels[77] = 10
    root = write_kmnist(tmp_path, np.zeros((10_000, 28, 28)), labels)
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: holds label 10, but labels go from 0 to 9"):
        kmnist("test", root)


def test_emnist_images_are_turned_upright(tmp_path, small):
    files = write_emnist(tmp_path)
    for split in COUNT:
        found = emnist(split, DataRoot(tmp_path))
        stored = files[f"emnist-byclass-{split}-images-idx3-ubyte"]
        assert np.array_equal(found.images[:, 0].numpy(), stored.transpose(0, 2, 1))
        assert found.images[3, 0, 2, 9] == stored[3, 9, 2]
        assert found.images.is_contiguous()
        assert found.labels.tolist() == files[f"emnist-byclass-{split}-labels-idx1-ubyte"].tolist()


def test_emnist_classes_are_digits_then_capitals_then_small_letters(tmp_path, small):
    write_emnist(tmp_path)
    found = emnist("test", DataRoot(tmp_path))
    assert [found.class_names[label] for label in (0, 9, 10, 35, 36, 61)] == ["0", "9", "A", "Z", "a", "z"]
    datasets = pytest.importorskip("torchvision.datasets")
    assert list(found.class_names) == datasets.EMNIST.classes_split_dict["byclass"]


def test_emnist_files_of_the_published_size_are_read_whole(tmp_path):
    raw = tmp_path / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    sparse(raw / "emnist-byclass-test-images-idx3-ubyte", 116_323, 28, 28)
    sparse(raw / "emnist-byclass-test-labels-idx1-ubyte", 116_323)
    found = emnist("test", DataRoot(tmp_path))
    assert found.images.shape == (116_323, 1, 28, 28)
    assert len(found.labels) == describe("dataset", "emnist").facts.samples
    assert (found.mean, found.std) == ((0.1736,), (0.3317,))


def test_the_files_of_another_part_of_emnist_are_refused(tmp_path):
    raw = tmp_path / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    sparse(raw / "emnist-byclass-test-images-idx3-ubyte", 18_800, 28, 28)
    sparse(raw / "emnist-byclass-test-labels-idx1-ubyte", 18_800)
    with pytest.raises(DataError, match="is not the idx file of 116323x28x28 bytes that belongs here"):
        emnist("test", DataRoot(tmp_path))


def test_emnist_has_62_classes(tmp_path, small):
    files = write_emnist(tmp_path)
    labels = files["emnist-byclass-test-labels-idx1-ubyte"]
    labels[5] = 62
    (tmp_path / "EMNIST" / "raw" / "emnist-byclass-test-labels-idx1-ubyte").write_bytes(idx(labels))
    with pytest.raises(DataError, match="holds label 62, but labels go from 0 to 61"):
        emnist("test", DataRoot(tmp_path))


def test_missing_emnist_files_are_named_with_their_folder_and_the_flag_that_fetches_them(tmp_path, small):
    write_emnist(tmp_path)
    (tmp_path / "EMNIST" / "raw" / EMNIST_FILES[1]).unlink()
    with pytest.raises(DataError, match=rf"EMNIST: missing in .*EMNIST/raw: {EMNIST_FILES[1]}\. .*--download"):
        emnist("train", DataRoot(tmp_path))
    assert len(emnist("test", DataRoot(tmp_path)).labels) == 40


def test_a_download_of_kmnist_asks_its_own_publisher(tmp_path, monkeypatch):
    datasets = pytest.importorskip("torchvision.datasets")
    mirror, resources = tmp_path / "mirror", []
    mirror.mkdir()
    for prefix, count in (("train", 60_000), ("t10k", 10_000)):
        for part, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            packed = gzip.compress(idx(np.zeros(shape, np.uint8)), compresslevel=1)
            (mirror / f"{prefix}-{part}-ubyte.gz").write_bytes(packed)
            resources.append((f"{prefix}-{part}-ubyte.gz", hashlib.md5(packed).hexdigest()))  # noqa: S324 - torchvision's
    monkeypatch.setattr(datasets.KMNIST, "resources", resources)
    with served(mirror) as address:
        monkeypatch.setattr(datasets.KMNIST, "mirrors", [address])
        assert len(kmnist("test", DataRoot(tmp_path / "root", download=True)).labels) == 10_000
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["KMNIST"]
    assert len(list((tmp_path / "root" / "KMNIST" / "raw").iterdir())) == 4


def test_a_download_of_emnist_keeps_the_files_by_class_alone(tmp_path, small, monkeypatch, capsys):
    datasets = pytest.importorskip("torchvision.datasets")
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    files = emnist_files()
    with zipfile.ZipFile(mirror / "gzip.zip", "w") as packed:
        for name, array in files.items():
            packed.writestr(f"gzip/{name}.gz", gzip.compress(idx(array)))
            packed.writestr(f"gzip/{name.replace('byclass', 'letters')}.gz", gzip.compress(idx(array)))
    digest = hashlib.md5((mirror / "gzip.zip").read_bytes()).hexdigest()  # noqa: S324 - torchvision's
    monkeypatch.setattr(datasets.EMNIST, "md5", digest)
    root = tmp_path / "root"
    with served(mirror) as address:
        monkeypatch.setattr(datasets.EMNIST, "url", f"{address}gzip.zip")
        train = emnist("train", DataRoot(root, download=True))
    assert torch.equal(train.images[:, 0].mT, torch.from_numpy(files[EMNIST_FILES[0]]))
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == sorted(EMNIST_FILES)
    assert [path.name for path in root.iterdir()] == ["EMNIST"]
    assert capsys.readouterr().out == ""
    assert len(emnist("test", DataRoot(root, download=True)).labels) == 40
