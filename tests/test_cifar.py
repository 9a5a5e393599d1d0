"""CIFAR-10: its binary files as they are published, the re-encoded ones, and what is said of missing or torn ones."""

import hashlib
import io
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tasks.datasets import cifar10 as module
from tasks.datasets.cifar10 import cifar10
from tasks.registry import describe
from tasks.types import DataError, DataRoot

REAL = Path(__file__).parent.parent.parent / "shared" / "data"
FOLDER = "cifar-10-batches-bin"
FILES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]


@pytest.fixture
def small(monkeypatch):
    """Files of 20 images instead of 10,000."""
    monkeypatch.setattr(module, "_ROWS", 20)


def batch(seed: int, rows: int = 20) -> np.ndarray:
    """One file, a row per image: its label, then 1,024 red, green and blue pixels."""
    made = np.random.default_rng(seed).integers(0, 256, (rows, 3073), dtype=np.uint8)
    made[:, 0] %= 10
    return made


def write(root: Path) -> dict[str, np.ndarray]:
    (root / FOLDER).mkdir(parents=True)
    made = {name: batch(seed) for seed, name in enumerate(FILES)}
    for name, rows in made.items():
        rows.tofile(root / FOLDER / name)
    return made


def test_a_file_of_the_published_size_is_read_whole(tmp_path):
    (tmp_path / FOLDER).mkdir()
    rows = batch(0, 10_000)
    rows.tofile(tmp_path / FOLDER / "test_batch.bin")
    assert (tmp_path / FOLDER / "test_batch.bin").stat().st_size == 30_730_000
    found = cifar10("test", DataRoot(tmp_path))
    assert found.images.shape == (10_000, 3, 32, 32)
    assert (found.images.dtype, found.labels.dtype) == (torch.uint8, torch.int64)
    assert found.labels.tolist() == rows[:, 0].tolist()
    assert len(found.labels) == describe("dataset", "cifar10").facts.samples


def test_pixels_are_stored_by_colour_then_row_then_column(tmp_path, small):
    files = write(tmp_path)
    image = cifar10("test", DataRoot(tmp_path)).images[3]
    row = files["test_batch.bin"][3]
    assert image[0, 0, 1] == row[1 + 1]
    assert image[0, 1, 0] == row[1 + 32]
    assert image[1, 0, 0] == row[1 + 1024]
    assert image[2, 31, 31] == row[3072]


def test_the_training_images_are_those_of_the_five_files_in_order(tmp_path, small):
    files = write(tmp_path)
    train = cifar10("train", DataRoot(tmp_path))
    expected = np.concatenate([files[name] for name in FILES[:5]])
    assert train.labels.tolist() == expected[:, 0].tolist()
    assert np.array_equal(train.images.reshape(100, 3072).numpy(), expected[:, 1:])
    assert (train.num_classes, train.class_names[6]) == (10, "frog")
    assert (train.mean, train.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def test_missing_files_are_named_with_their_folder_and_the_flag_that_fetches_them(tmp_path):
    with pytest.raises(DataError) as caught:
        cifar10("train", DataRoot(tmp_path))
    message = str(caught.value)
    assert f"missing in {tmp_path / FOLDER}: data_batch_1.bin, data_batch_2.bin" in message
    assert "cifar-10-binary.tar.gz" in message
    assert "--download" in message
    assert "jpeg" not in message


def test_only_the_missing_file_is_asked_for_and_the_other_split_needs_it_not(tmp_path, small):
    write(tmp_path)
    (tmp_path / FOLDER / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match=r"missing in .*: data_batch_4.bin\. "):
        cifar10("train", DataRoot(tmp_path))
    assert len(cifar10("test", DataRoot(tmp_path)).labels) == 20


def test_re_encoded_images_are_offered_where_they_lie_but_never_taken_unasked(tmp_path):
    (tmp_path / "cifar10-jpeg").mkdir()
    with pytest.raises(DataError, match="`jpeg: true` reads the re-encoded images"):
        cifar10("test", DataRoot(tmp_path))


@pytest.mark.parametrize(("change", "word"), [(-1, "truncated"), (1, "too long"), (-61_460, "truncated")])
def test_a_file_of_another_size_is_refused_with_its_name_and_size(tmp_path, small, change, word):
    files = write(tmp_path)
    raw = files["data_batch_2.bin"].tobytes() + b"\0"
    (tmp_path / FOLDER / "data_batch_2.bin").write_bytes(raw[: 61_460 + change])
    with pytest.raises(DataError, match=f"data_batch_2.bin: {word}: .* it has {61_460 + change}$"):
        cifar10("train", DataRoot(tmp_path))


def test_a_label_without_a_class_is_refused(tmp_path, small):
    rows = write(tmp_path)["test_batch.bin"]
    rows[7, 0] = 10
    rows.tofile(tmp_path / FOLDER / "test_batch.bin")
    with pytest.raises(DataError, match=r"test_batch.bin: row 7 holds label 10, but labels go from 0 to 9"):
        cifar10("test", DataRoot(tmp_path))


def jpeg_table(rows: int, side: int = 32) -> pa.Table:
    made = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), 90, np.uint8)).save(made, "JPEG")
    image = {"bytes": made.getvalue(), "path": "a.jpg"}
    return pa.table({"image": [image] * rows, "label": [row % 10 for row in range(rows)]})


def test_the_re_encoded_images_are_the_same_dataset_by_name_and_scale(tmp_path, small):
    (tmp_path / "cifar10-jpeg").mkdir()
    for split, rows in (("train", 100), ("test", 20)):
        pq.write_table(jpeg_table(rows), tmp_path / "cifar10-jpeg" / f"{split}.parquet")
    train, test = (cifar10(split, DataRoot(tmp_path), jpeg=True) for split in ("train", "test"))
    assert (train.images.shape, test.images.shape) == ((100, 3, 32, 32), (20, 3, 32, 32))
    assert (test.class_names[6], test.std) == ("frog", (0.2023, 0.1994, 0.2010))
    assert test.labels.tolist() == [row % 10 for row in range(20)]


@pytest.mark.parametrize(("rows", "side"), [(19, 32), (20, 28)])
def test_re_encoded_images_of_another_number_or_size_are_refused(tmp_path, small, rows, side):
    (tmp_path / "cifar10-jpeg").mkdir()
    pq.write_table(jpeg_table(100, side), tmp_path / "cifar10-jpeg" / "train.parquet")
    pq.write_table(jpeg_table(rows, side), tmp_path / "cifar10-jpeg" / "test.parquet")
    message = rf"the test split has {rows} images of shape \(3, {side}, {side}\) and 10 classes, not 20"
    with pytest.raises(DataError, match=message):
        cifar10("test", DataRoot(tmp_path), jpeg=True)


def test_the_real_re_encoded_test_images_have_the_scale_of_cifar10():
    if not (REAL / "cifar10-jpeg").is_dir():
        pytest.skip(f"no cifar10-jpeg under {REAL}")
    test = cifar10("test", DataRoot(REAL), jpeg=True)
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    means = test.images.double().mean(dim=(0, 2, 3)) / 255
    assert means.tolist() == pytest.approx([0.4942, 0.4851, 0.4504], abs=2e-3)  # the published test images'
    deviation = test.images.double().div(255).transpose(0, 1).flatten(1).std(dim=1)
    assert deviation.tolist() == pytest.approx([0.2467, 0.2429, 0.2616], abs=4e-3)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path, small, monkeypatch):
    """The archive behind a web server, and the loader told to fetch it from there."""
    source, served = tmp_path / "source", tmp_path / "served"
    write(source)
    (source / FOLDER / "batches.meta.txt").write_text("airplane\n")
    served.mkdir()
    archive = served / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(source / FOLDER, FOLDER)
    monkeypatch.setattr(module, "_MD5", hashlib.md5(archive.read_bytes()).hexdigest())  # noqa: S324 - the publisher's
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as server:
        monkeypatch.setattr(module, "_URL", f"http://127.0.0.1:{server.server_port}/{archive.name}")
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        yield archive
        server.shutdown()
        serving.join()


def test_a_download_puts_whole_files_in_place_and_leaves_nothing_else(tmp_path, mirror, capsys):
    root = tmp_path / "new" / "root"
    assert len(cifar10("train", DataRoot(root, download=True)).labels) == 100
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == FILES
    assert [path.name for path in root.iterdir()] == [FOLDER]
    assert capsys.readouterr().out == ""
    mirror.unlink()
    assert len(cifar10("test", DataRoot(root, download=True)).labels) == 20


def test_a_download_of_other_bytes_is_refused_and_leaves_nothing(tmp_path, mirror):
    mirror.write_bytes(mirror.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=r"CIFAR-10: the download into .* failed: "):
        cifar10("test", DataRoot(tmp_path / "root", download=True))
    assert list((tmp_path / "root").iterdir()) == []


def test_a_download_from_where_nobody_answers_says_so(tmp_path, mirror):
    mirror.unlink()
    with pytest.raises(DataError, match=r"CIFAR-10: the download into .* failed: .*404"):
        cifar10("test", DataRoot(tmp_path / "root", download=True))
    assert list((tmp_path / "root").iterdir()) == []
