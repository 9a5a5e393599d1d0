"""SVHN: MATLAB files as they are published, and what is said of missing, torn or foreign ones."""

import hashlib

import numpy as np
import pytest
import torch
from scipy.io import savemat
from served import served

from tasks.datasets import svhn as module
from tasks.datasets.svhn import svhn
from tasks.registry import describe
from tasks.types import DataError, DataRoot

COUNT = {"train": 30, "test": 20}


def arrays(seed: int, count: int) -> dict[str, np.ndarray]:
    """What a file holds: X (row, column, colour, image) and y (image, 1), where 10 is a zero."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
    return {"X": images, "y": (np.arange(count, dtype=np.uint8) % 10 + 1)[:, None]}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Files of 30 and 20 images, taken for the published ones of 73,257 and 26,032."""
    made = {split: arrays(seed, count) for seed, (split, count) in enumerate(COUNT.items())}
    digests = {}
    for split, content in made.items():
        path = tmp_path / f"{split}_32x32.mat"
        savemat(path, content, do_compression=True)
        digests[split] = hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324 - the publisher's
    monkeypatch.setattr(module, "_MD5", digests)
    return made


def test_pixels_and_labels_are_those_of_the_file(tmp_path, files):
    for split, count in COUNT.items():
        found = svhn(split, DataRoot(tmp_path))
        stored = files[split]["X"]
        assert found.images.shape == (count, 3, 32, 32)
        assert np.array_equal(found.images.numpy(), stored.transpose(3, 2, 0, 1))
        assert found.images[5, 2, 7, 30] == stored[7, 30, 2, 5]
        assert (found.images.dtype, found.labels.dtype) == (torch.uint8, torch.int64)
        assert found.images.is_contiguous()
        assert (found.mean, found.std) == ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))


def test_label_ten_is_the_digit_zero_and_the_others_are_themselves(tmp_path, files):
    found = svhn("test", DataRoot(tmp_path))
    assert found.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 2
    assert found.class_names == tuple("0123456789")


def test_torchvision_reads_the_same(tmp_path, files, monkeypatch):
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(datasets.SVHN, "_check_integrity", lambda _: True)
    theirs, ours = datasets.SVHN(tmp_path, "test"), svhn("test", DataRoot(tmp_path))
    assert np.array_equal(theirs.data, ours.images.numpy())
    assert theirs.labels.tolist() == ours.labels.tolist()


def test_the_published_files_are_those_that_torchvision_knows():
    datasets = pytest.importorskip("torchvision.datasets")
    for split in COUNT:
        assert datasets.SVHN.split_list[split] == [
            f"{module._URL}{split}_32x32.mat",
            f"{split}_32x32.mat",
            module._MD5[split],
        ]
    assert describe("dataset", "svhn").facts.samples == 26_032


def test_a_missing_file_is_named_with_its_folder_and_the_flag_that_fetches_it(tmp_path, files):
    (tmp_path / "train_32x32.mat").unlink()
    with pytest.raises(DataError, match=rf"SVHN: missing in {tmp_path}: train_32x32.mat\. .*--download"):
        svhn("train", DataRoot(tmp_path))
    assert len(svhn("test", DataRoot(tmp_path)).labels) == 20


@pytest.mark.parametrize(
    "damage",
    [lambda raw: raw[:-1], lambda _: b"", lambda raw: raw + b"\0", lambda raw: raw[:140] + b"\xff" + raw[141:]],
)
def test_any_other_file_is_refused_before_it_is_parsed(tmp_path, files, damage):
    path = tmp_path / "test_32x32.mat"
    raw = damage(path.read_bytes())
    path.write_bytes(raw)
    message = rf"{path}: truncated, damaged or another file than http.*test_32x32.mat: .* {len(raw)} bytes is .* should"
    with pytest.raises(DataError, match=message):
        svhn("test", DataRoot(tmp_path))


def test_a_download_puts_the_file_of_the_split_in_place_and_leaves_nothing_else(tmp_path, files, monkeypatch, capsys):
    root = tmp_path / "new" / "root"
    with served(tmp_path) as address:
        monkeypatch.setattr(module, "_URL", address)
        assert len(svhn("train", DataRoot(root, download=True)).labels) == 30
        assert [path.name for path in root.iterdir()] == ["train_32x32.mat"]
        monkeypatch.setattr(module, "_MD5", {"test": "0" * 32})
        with pytest.raises(DataError, match=r"SVHN: the download into .* failed: "):
            svhn("test", DataRoot(root, download=True))
    assert [path.name for path in root.iterdir()] == ["train_32x32.mat"]
    assert capsys.readouterr().out == ""
