"""CIFAR-100: its binary files as they are published, its two kinds of labels, and what is said of torn ones."""

import hashlib
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from served import served

from tasks.datasets import cifar100 as module
from tasks.datasets.cifar100 import cifar100
from tasks.registry import describe
from tasks.types import DataError, DataRoot

FOLDER = "cifar-100-binary"
COUNT = {"train": 100, "test": 20}


@pytest.fixture
def small(monkeypatch):
    """Files of 100 and 20 images instead of 50,000 and 10,000."""
    monkeypatch.setattr(module, "_COUNT", COUNT)


def records(seed: int, count: int) -> np.ndarray:
    """A row per image: its coarse label, its fine label, then 1,024 red, green and blue pixels."""
    made = np.random.default_rng(seed).integers(0, 256, (count, 3074), dtype=np.uint8)
    made[:, 0] %= 20
    made[:, 1] %= 100
    return made


def write(root: Path) -> dict[str, np.ndarray]:
    (root / FOLDER).mkdir(parents=True)
    made = {split: records(seed, count) for seed, (split, count) in enumerate(COUNT.items())}
    for split, rows in made.items():
        rows.tofile(root / FOLDER / f"{split}.bin")
    return made


def test_a_file_of_the_published_size_is_read_whole(tmp_path):
    (tmp_path / FOLDER).mkdir()
    rows = records(0, 10_000)
    rows.tofile(tmp_path / FOLDER / "test.bin")
    assert (tmp_path / FOLDER / "test.bin").stat().st_size == 30_740_000
    found = cifar100("test", DataRoot(tmp_path))
    assert found.images.shape == (10_000, 3, 32, 32)
    assert (found.images.dtype, found.labels.dtype) == (torch.uint8, torch.int64)
    assert len(found.labels) == describe("dataset", "cifar100").facts.samples


def test_pixels_are_stored_by_colour_then_row_then_column(tmp_path, small):
    row = write(tmp_path)["train"][3]
    image = cifar100("train", DataRoot(tmp_path)).images[3]
    assert image[0, 0, 1] == row[2 + 1]
    assert image[0, 1, 0] == row[2 + 32]
    assert image[1, 0, 0] == row[2 + 1024]
    assert image[2, 31, 31] == row[3073]


def test_labels_are_fine_unless_coarse_ones_are_asked_for(tmp_path, small):
    files = write(tmp_path)
    for split in COUNT:
        fine, coarse = (cifar100(split, DataRoot(tmp_path), **asked) for asked in ({}, {"labels": "coarse"}))
        assert fine.labels.tolist() == files[split][:, 1].tolist()
        assert coarse.labels.tolist() == files[split][:, 0].tolist()
        assert torch.equal(fine.images, coarse.images)
        assert (fine.num_classes, coarse.num_classes) == (100, 20)


def test_class_names_are_sorted_as_the_published_ones_are(tmp_path, small):
    write(tmp_path)
    for kind in ("fine", "coarse"):
        names = cifar100("test", DataRoot(tmp_path), labels=kind).class_names
        assert list(names) == sorted(names)
        assert len(set(names)) == len(names)
    fine = cifar100("test", DataRoot(tmp_path)).class_names
    assert [fine[label] for label in (0, 11, 53, 99)] == ["apple", "boy", "orange", "worm"]


def test_missing_files_are_named_with_their_folder_and_the_flag_that_fetches_them(tmp_path, small):
    with pytest.raises(DataError) as caught:
        cifar100("train", DataRoot(tmp_path))
    message = str(caught.value)
    assert f"missing in {tmp_path / FOLDER}: train.bin" in message
    assert "cifar-100-binary.tar.gz" in message
    assert "--download" in message


def test_one_split_needs_not_the_file_of_the_other(tmp_path, small):
    write(tmp_path)
    (tmp_path / FOLDER / "train.bin").unlink()
    assert len(cifar100("test", DataRoot(tmp_path)).labels) == 20


@pytest.mark.parametrize(("size", "word"), [(61_479, "truncated"), (61_481, "too long"), (0, "truncated")])
def test_a_file_of_another_size_is_refused_with_its_name_and_size(tmp_path, small, size, word):
    raw = write(tmp_path)["test"].tobytes() + b"\0"
    (tmp_path / FOLDER / "test.bin").write_bytes(raw[:size])
    with pytest.raises(DataError, match=rf"test.bin: {word}: 20 images are 61480 bytes, but it has {size}$"):
        cifar100("test", DataRoot(tmp_path))


@pytest.mark.parametrize(("column", "label", "kind"), [(0, 20, "coarse"), (1, 100, "fine")])
def test_a_label_without_a_class_is_refused_whichever_labels_are_asked_for(tmp_path, small, column, label, kind):
    rows = write(tmp_path)["test"]
    rows[7, column] = label
    rows.tofile(tmp_path / FOLDER / "test.bin")
    for asked in ("fine", "coarse"):
        with pytest.raises(DataError, match=rf"test.bin: row 7 holds {kind} label {label}, but they go from 0 to"):
            cifar100("test", DataRoot(tmp_path), labels=asked)


@pytest.fixture
def mirror(tmp_path, small, monkeypatch):
    """The archive behind a web server, and the loader told to fetch it from there."""
    source, folder = tmp_path / "source", tmp_path / "served"
    write(source)
    (source / FOLDER / "fine_label_names.txt").write_text("apple\n")
    folder.mkdir()
    archive = folder / "cifar-100-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(source / FOLDER, FOLDER)
    monkeypatch.setattr(module, "_MD5", hashlib.md5(archive.read_bytes()).hexdigest())  # noqa: S324 - the publisher's
    with served(folder) as address:
        monkeypatch.setattr(module, "_URL", f"{address}{archive.name}")
        yield archive


def test_a_download_puts_whole_files_in_place_and_leaves_nothing_else(tmp_path, mirror, capsys):
    root = tmp_path / "new" / "root"
    assert len(cifar100("train", DataRoot(root, download=True)).labels) == 100
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == ["test.bin", "train.bin"]
    assert [path.name for path in root.iterdir()] == [FOLDER]
    assert capsys.readouterr().out == ""
    mirror.unlink()
    assert len(cifar100("test", DataRoot(root, download=True)).labels) == 20


def test_a_download_of_other_bytes_is_refused_and_leaves_nothing(tmp_path, mirror):
    mirror.write_bytes(mirror.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=r"CIFAR-100: the download into .* failed: "):
        cifar100("test", DataRoot(tmp_path / "root", download=True))
    assert list((tmp_path / "root").iterdir()) == []
