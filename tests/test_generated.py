"""Generated images in an `.npz` file: what is read of it, and what is said of torn or foreign ones."""

import io
import zipfile

import numpy as np
import pytest
import torch

from tasks.datasets._generated import read_generated
from tasks.types import DataError

SHAPE = (3, 4, 5)


class Trap:
    """Says that it was unpickled."""

    unpickled = False

    def __setstate__(self, _: object) -> None:
        Trap.unpickled = True


def arrays(count: int = 6, **changed: np.ndarray) -> dict[str, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (count, 4, 5, 3), dtype=np.uint8)
    return {"image": images, "label": np.arange(count) % 3, **changed}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "1m.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_images_and_labels_are_those_of_the_file_in_its_order(path, save, kind):
    made = arrays(label=np.array([2, 0, 1, 1, 0, 2], kind))
    save(path, **made, other=np.zeros(2))
    images, labels = read_generated(path, SHAPE, 3)
    assert images.shape == (6, *SHAPE)
    assert np.array_equal(images.numpy(), made["image"].transpose(0, 3, 1, 2))
    assert labels.tolist() == [2, 0, 1, 1, 0, 2]
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)


def test_grey_images_have_a_channel_as_well(path):
    np.savez(path, **arrays(image=np.full((6, 4, 5, 1), 9, np.uint8)))
    assert read_generated(path, (1, 4, 5), 3)[0].shape == (6, 1, 4, 5)


def test_a_missing_file_is_named(path):
    with pytest.raises(DataError, match=rf"^{path}: missing: generated images are not downloaded"):
        read_generated(path, SHAPE, 3)


@pytest.mark.parametrize("name", ["image", "label"])
def test_a_missing_array_is_named_with_those_that_are_there(path, name):
    made = arrays()
    made["other"] = made.pop(name)
    np.savez(path, **made)
    with pytest.raises(DataError, match=rf"no array '{name}'\. There are: .*'other'"):
        read_generated(path, SHAPE, 3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": np.zeros((6, 3, 4, 5), np.uint8)}, r"image is uint8 \(6, 3, 4, 5\), not uint8 \(6, 4, 5, 3\)"),
        ({"image": np.zeros((6, 4, 5), np.uint8)}, r"image is uint8 \(6, 4, 5\), not"),
        ({"image": np.zeros((5, 4, 5, 3), np.uint8)}, r"image is uint8 \(5, 4, 5, 3\), not uint8 \(6,"),
        ({"image": np.zeros((6, 4, 5, 3), np.float32)}, r"image is float32 .*, not uint8"),
        ({"label": np.zeros((6, 1), np.int64)}, r"label is int64 \(6, 1\): there must be one integer for each"),
        ({"label": np.zeros(6)}, r"label is float64 \(6,\): there"),
        ({"label": np.zeros(0, np.int64), "image": np.zeros((0, 4, 5, 3), np.uint8)}, r"label is int64 \(0,\): there"),
        ({"label": np.array([0, 1, 2, 3, 1, 0])}, "holds labels 0 to 3, but classes go from 0 to 2"),
        ({"label": np.array([0, 1, -1, 2, 1, 0])}, "holds labels -1 to 2, but classes go from 0 to 2"),
    ],
)
def test_arrays_of_other_shapes_and_labels_without_a_class_are_refused(path, changed, message):
    np.savez(path, **arrays(**changed))
    with pytest.raises(DataError, match=rf"1m.npz: {message}"):
        read_generated(path, SHAPE, 3)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda raw: raw[:1],
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-1],
        lambda raw: raw[100:],
        lambda raw: raw[:200] + bytes(255 - byte for byte in raw[200:300]) + raw[300:],
        lambda _: b"no such file at all",
    ],
)
def test_a_torn_or_foreign_file_is_refused(path, damage):
    np.savez(path, **arrays())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"1m.npz: not a whole .npz file of plain arrays: "):
        read_generated(path, SHAPE, 3)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"not a whole .npz file of plain arrays: "):
        read_generated(tmp_path, SHAPE, 3)


def test_a_single_array_is_refused(path):
    with path.open("wb") as file:
        np.save(file, arrays()["image"])
    with pytest.raises(DataError, match=r"is one array, not an .npz file"):
        read_generated(path, SHAPE, 3)


@pytest.mark.parametrize("name", ["image", "label"])
def test_nothing_is_unpickled(path, name):
    np.savez(path, **arrays(**{name: np.array([Trap()], dtype=object)}))
    with pytest.raises(DataError, match=r"not a whole .npz file of plain arrays: Object arrays cannot be loaded"):
        read_generated(path, SHAPE, 3)
    assert not Trap.unpickled


def test_a_header_that_promises_more_than_there_is_memory_is_refused(path):
    label, image = io.BytesIO(), io.BytesIO()
    np.save(label, arrays()["label"])
    np.lib.format.write_array_header_1_0(image, {"descr": "|u1", "fortran_order": False, "shape": (6, 2**30, 2**30, 3)})
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("label.npy", label.getvalue())
        packed.writestr("image.npy", image.getvalue())
    with pytest.raises(DataError, match=r"1m.npz: (image does not fit into memory|not a whole .npz)"):
        read_generated(path, SHAPE, 3)
