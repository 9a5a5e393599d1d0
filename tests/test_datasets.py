"""Datasets: the real files where they are, and what is said when they are missing, torn or foreign."""

import gzip
import hashlib
import socket
import struct
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.datasets.digits import digits
from tasks.datasets.fashion_mnist import fashion_mnist
from tasks.datasets.mnist import mnist
from tasks.datasets.mnist_3_7 import mnist_3_7
from tasks.registry import describe, names
from tasks.types import DataError, DataRoot, Split

REAL = Path(__file__).parent.parent.parent / "shared" / "data"
IMAGES = "t10k-images-idx3-ubyte"
LABELS = "t10k-labels-idx1-ubyte"


@pytest.fixture
def real() -> DataRoot:
    if not (REAL / "MNIST").is_dir() or not (REAL / "FashionMNIST").is_dir():
        pytest.skip(f"no MNIST and Fashion-MNIST files under {REAL}")
    return DataRoot(REAL)


def idx(shape: tuple[int, ...], body: bytes | None = None) -> bytes:
    content = bytes(int(np.prod(shape))) if body is None else body
    return struct.pack(f">{1 + len(shape)}I", 0x0800 + len(shape), *shape) + content


def write(root: Path, images: bytes, labels: bytes) -> DataRoot:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / IMAGES).write_bytes(images)
    (folder / LABELS).write_bytes(labels)
    return DataRoot(root)


def counts(split: Split) -> list[int]:
    return torch.bincount(split.labels, minlength=split.num_classes).tolist()


def test_mnist_has_its_published_counts_and_order(real):
    train, test = mnist("train", real), mnist("test", real)
    assert train.images.shape == (60_000, 1, 28, 28)
    assert train.images.dtype == torch.uint8
    assert counts(train) == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert counts(test) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert (test.shape, test.num_classes) == ((1, 28, 28), 10)


def test_mnist_is_standardised_by_its_own_mean_and_std(real):
    train = mnist("train", real)
    assert train.images.double().mean().item() / 255 == pytest.approx(train.mean[0], abs=5e-5)
    assert train.images.double().std().item() / 255 == pytest.approx(train.std[0], abs=5e-5)


def test_threes_and_sevens_are_classes_0_and_1_in_the_order_of_mnist(real):
    train, test = mnist_3_7("train", real), mnist_3_7("test", real)
    assert counts(train) == [6131, 6265]
    assert counts(test) == [1010, 1028]
    whole = mnist("test", real)
    rows = [row for row, label in enumerate(whole.labels.tolist()) if label in {3, 7}]
    assert torch.equal(test.images, whole.images[rows])
    assert [(3, 7)[label] for label in test.labels.tolist()] == whole.labels[rows].tolist()
    assert test.class_names == ("3", "7")


def test_fashion_mnist_has_its_published_counts(real):
    train, test = fashion_mnist("train", real), fashion_mnist("test", real)
    assert (counts(train), counts(test)) == ([6000] * 10, [1000] * 10)
    assert train.images.double().mean().item() == pytest.approx(72.94035, abs=1e-4)
    assert test.class_names[int(test.labels[0])] == "ankle boot"


def test_training_on_the_fashion_test_images_changes_the_training_split_alone(real):
    published = fashion_mnist("train", real, train_on="test")
    test = fashion_mnist("test", real)
    assert torch.equal(published.images, test.images)
    assert torch.equal(fashion_mnist("test", real, train_on="test").images, test.images)
    assert len(fashion_mnist("train", real, train_on="train").labels) == 60_000


def test_digits_are_split_in_order_and_standardised_by_the_training_images(tmp_path):
    train, test = digits("train", DataRoot(tmp_path)), digits("test", DataRoot(tmp_path))
    assert (train.images.shape, test.images.shape) == ((1200, 1, 8, 8), (597, 1, 8, 8))
    assert train.labels[:10].tolist() == list(range(10))
    assert (train.images.min().item(), train.images.max().item()) == (0, 1)
    assert train.images.double().mean().item() == pytest.approx(train.mean[0], abs=1e-7)
    assert train.images.double().std(correction=0).item() == pytest.approx(train.std[0], abs=1e-7)


def test_every_built_in_dataset_declares_its_samples():
    own = set(names("dataset")) - {"parquet", "imagefolder"}  # whose sizes are those of the user's files
    assert all(describe("dataset", name).facts.samples > 0 for name in own)


def test_missing_files_are_named_with_their_folder_and_the_flag_that_fetches_them(tmp_path):
    with pytest.raises(DataError) as caught:
        fashion_mnist("train", DataRoot(tmp_path))
    message = str(caught.value)
    assert str(tmp_path / "FashionMNIST" / "raw") in message
    assert "train-images-idx3-ubyte, train-labels-idx1-ubyte" in message
    assert "--download" in message


def test_only_the_missing_file_is_asked_for(tmp_path):
    root = write(tmp_path, idx((10_000, 28, 28)), idx((10_000,)))
    (tmp_path / "MNIST" / "raw" / LABELS).unlink()
    with pytest.raises(DataError, match=LABELS) as caught:
        mnist("test", root)
    assert IMAGES not in str(caught.value)


def test_a_truncated_image_file_is_refused_with_its_name_and_size(tmp_path):
    root = write(tmp_path, idx((10_000, 28, 28))[:-100], idx((10_000,)))
    with pytest.raises(DataError, match=f"{IMAGES}: truncated: .* 7839900 follow"):
        mnist("test", root)


def test_a_file_with_bytes_too_many_is_refused(tmp_path):
    root = write(tmp_path, idx((10_000, 28, 28)), idx((10_000,)) + b"x")
    with pytest.raises(DataError, match=f"{LABELS}: too long: .* 10001 follow"):
        mnist("test", root)


@pytest.mark.parametrize(
    "images",
    [b"", b"\0\0", idx((10_000, 32, 32)), idx((10_000,)), gzip.compress(idx((10, 28, 28)))],
    ids=["empty", "short", "another shape", "labels", "packed"],
)
def test_a_file_that_is_no_such_idx_file_is_refused(tmp_path, images):
    root = write(tmp_path, images, idx((10_000,)))
    with pytest.raises(DataError, match=f"{IMAGES}: is not the idx file of 10000x28x28 bytes"):
        mnist("test", root)


def test_labels_for_other_images_are_refused(tmp_path):
    root = write(tmp_path, idx((10_000, 28, 28)), idx((60_000,)))
    with pytest.raises(DataError, match=f"{LABELS}: is not the idx file of 10000 bytes"):
        mnist("test", root)


def test_a_label_without_a_class_is_refused(tmp_path):
    root = write(tmp_path, idx((10_000, 28, 28)), idx((10_000,), bytes(9_999) + b"\x0a"))
    with pytest.raises(DataError, match=f"{LABELS}: holds label 10, but labels go from 0 to 9"):
        mnist("test", root)


def test_a_folder_in_the_place_of_a_file_counts_as_missing(tmp_path):
    (tmp_path / "MNIST" / "raw" / IMAGES).mkdir(parents=True)
    with pytest.raises(DataError, match=f"missing in .*{IMAGES}"):
        mnist("test", DataRoot(tmp_path))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Stand-ins for MNIST's four files behind a web server, and torchvision told to fetch them from there."""
    datasets = pytest.importorskip("torchvision.datasets")
    folder = tmp_path / "mirror"
    folder.mkdir()
    resources = []
    for prefix, count in (("train", 60_000), ("t10k", 10_000)):
        for part, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            packed = gzip.compress(idx(shape), compresslevel=1)
            (folder / f"{prefix}-{part}-ubyte.gz").write_bytes(packed)
            resources.append((f"{prefix}-{part}-ubyte.gz", hashlib.md5(packed).hexdigest()))  # noqa: S324 - torchvision's
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setattr(datasets.MNIST, "resources", resources)
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        yield folder
        server.shutdown()
        serving.join()


def test_a_download_puts_whole_files_in_place_and_leaves_nothing_else(tmp_path, mirror, capsys):
    root = tmp_path / "new" / "root"
    assert len(mnist("train", DataRoot(root, download=True)).labels) == 60_000
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == [
        IMAGES,
        LABELS,
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
    ]
    assert [path.name for path in root.iterdir()] == ["MNIST"]
    assert capsys.readouterr().out == ""


def test_a_download_from_where_nobody_answers_says_so_and_leaves_nothing(tmp_path, monkeypatch):
    datasets = pytest.importorskip("torchvision.datasets")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{port}/"])
    with pytest.raises(DataError, match=r"(?s)MNIST: the download into .* failed: .*train-images-idx3-ubyte.*refused"):
        mnist("test", DataRoot(tmp_path / "root", download=True))
    assert list((tmp_path / "root").iterdir()) == []


def test_a_download_of_other_bytes_is_refused(tmp_path, mirror):
    (mirror / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx((10_000,), bytes(9_999) + b"\x01")))
    with pytest.raises(DataError, match=r"MNIST: the download into .* failed"):
        mnist("test", DataRoot(tmp_path / "root", download=True))
    assert list((tmp_path / "root").iterdir()) == []
