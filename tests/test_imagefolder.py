"""Datasets in folders of classes: their order, their colours and sizes, and what is said of files that do not fit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.config import Component
from tasks.datasets.imagefolder import imagefolder
from tasks.model import load_split
from tasks.registry import REQUIRED, describe
from tasks.types import DataError, DataRoot

RNG = np.random.default_rng(0)


def colour(height: int = 6, width: int = 5) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(root: Path, images: dict[str, np.ndarray], folder: str = "photos") -> DataRoot:
    """Each image at its path below the folder."""
    for name, pixels in images.items():
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return DataRoot(root)


def as_tensor(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


@pytest.fixture
def photos(tmp_path):
    """Five photographs of two classes to train on, two to test on; written in no order."""
    names = ("train/eel/b.png", "train/cat/10.png", "train/eel/a.PNG", "train/cat/9.bmp", "train/cat/B.png")
    images = {name: colour() for name in (*names, "test/eel/z.png", "test/cat/y.png")}
    return write(tmp_path, images), images


def test_images_come_by_sorted_class_and_then_by_sorted_file_name(photos):
    root, images = photos
    train, test = imagefolder("train", root, folder="photos"), imagefolder("test", root, folder="photos")
    order = ["train/cat/10.png", "train/cat/9.bmp", "train/cat/B.png", "train/eel/a.PNG", "train/eel/b.png"]
    assert torch.equal(train.images, as_tensor([images[name] for name in order]))
    assert torch.equal(test.images, as_tensor([images["test/cat/y.png"], images["test/eel/z.png"]]))
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 0, 0, 1, 1], [0, 1])
    assert train.class_names == test.class_names == ("cat", "eel")
    assert (train.images.dtype, train.labels.dtype) == (torch.uint8, torch.int64)


def test_torchvision_has_the_same_classes_and_labels(photos):
    datasets = pytest.importorskip("torchvision.datasets")
    root, _ = photos
    theirs, ours = datasets.ImageFolder(root.path / "photos" / "train"), imagefolder("train", root, folder="photos")
    assert theirs.classes == list(ours.class_names)
    assert theirs.targets == ours.labels.tolist()
    assert [np.asarray(image).tolist() for image, _ in theirs] == ours.images.permute(0, 2, 3, 1).tolist()


def test_mean_and_std_are_those_of_the_training_images_in_both_splits(photos):
    root, images = photos
    pixels = np.stack([image for name, image in images.items() if name.startswith("train")]) / 255
    for split in ("train", "test"):
        found = imagefolder(split, root, folder="photos")
        assert found.mean == pytest.approx(pixels.mean(axis=(0, 1, 2)), abs=1e-12)
        assert found.std == pytest.approx(pixels.std(axis=(0, 1, 2)), abs=1e-12)


def test_with_mean_and_std_given_no_training_image_is_decoded(photos):
    root, _ = photos
    (root.path / "photos" / "train" / "cat" / "9.bmp").write_bytes(b"no image")
    found = imagefolder("test", root, folder="photos", mean=[0.5] * 3, std=[0.2] * 3)
    assert (found.mean, found.std) == ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    with pytest.raises(DataError, match=r"9.bmp: 8 bytes that are no JPEG"):
        imagefolder("test", root, folder="photos", mean=[0.5] * 3)


def test_the_harness_takes_what_the_component_makes(photos):
    root, _ = photos
    assert load_split(Component("dataset", "imagefolder", 1, {"folder": "photos"}), "test", root).shape == (3, 6, 5)


def test_the_folders_of_the_splits_may_have_other_names(tmp_path):
    root = write(tmp_path, {"data/fit/a/1.png": colour(), "check/a/1.png": colour()})
    names = {"folder": "photos", "train_folder": "data/fit", "test_folder": "check"}
    for split in ("train", "test"):
        assert len(imagefolder(split, root, **names).labels) == 1


def test_hidden_files_other_files_and_files_elsewhere_are_let_be(photos):
    root, _ = photos
    place = root.path / "photos" / "train"
    for name in ("cat/._9.png", "cat/notes.txt", "notes.png", ".cache/a.png", "cat/deep/a.png"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(b"no image")
    found = imagefolder("train", root, folder="photos")
    assert (len(found.labels), found.class_names) == (5, ("cat", "eel"))


def test_grey_images_have_one_channel_and_mode_converts(tmp_path):
    grey, photo = RNG.integers(0, 256, (6, 5), dtype=np.uint8), colour()
    root = write(tmp_path, {"train/a/1.png": grey})
    assert imagefolder("train", root, folder="photos").shape == (1, 6, 5)
    write(tmp_path, {"train/a/2.png": photo})
    with pytest.raises(
        DataError, match=r"2.png: the image has shape \(3, 6, 5\), not \(1, 6, 5\) as that of 1.png: .*mode"
    ):
        imagefolder("train", root, folder="photos")
    rgb = imagefolder("train", root, folder="photos", mode="rgb").images
    assert torch.equal(rgb, as_tensor([np.repeat(grey[:, :, None], 3, axis=2), photo]))
    assert torch.equal(imagefolder("train", root, folder="photos", mode="grey").images[0, 0], torch.from_numpy(grey))


def test_every_image_of_another_size_is_named_and_side_makes_all_alike(tmp_path):
    sizes = {"train/a/1.png": (8, 12), "train/a/2.png": (16, 8), "train/b/3.png": (9, 9)}
    root = write(tmp_path, {name: colour(*size) for name, size in sizes.items()})
    with pytest.raises(DataError, match=r"(?s)^2 problems.*2.png: .* \(3, 16, 8\), not \(3, 8, 12\).*3.png: .*side"):
        imagefolder("train", root, folder="photos")
    assert imagefolder("train", root, folder="photos", side=7).images.shape == (3, 3, 7, 7)


@pytest.mark.parametrize("size", [(23, 37), (37, 23), (14, 14), (9, 10)])
def test_side_is_what_torchvision_makes_of_the_picture(tmp_path, size):
    functional = pytest.importorskip("torchvision.transforms.functional")
    image = colour(*size)
    root = write(tmp_path, {"train/a/1.png": image})
    expected = functional.center_crop(functional.resize(Image.fromarray(image), [14]), [14])
    assert torch.equal(imagefolder("train", root, folder="photos", side=14).images, as_tensor([np.asarray(expected)]))


@pytest.mark.parametrize("outside", ["..", "a/../../b", "/etc", "..\\x", "C:\\x", "a\0b"])
@pytest.mark.parametrize("name", ["folder", "train_folder", "test_folder"])
def test_a_folder_outside_the_data_root_is_refused(photos, name, outside):
    root, _ = photos
    with pytest.raises(DataError, match="is not inside the data root"):
        imagefolder("test", root, **{"folder": "photos", name: outside})


def test_a_class_that_is_not_in_the_training_split_is_refused_and_one_may_lack_in_the_test_split(photos):
    root, _ = photos
    write(root.path, {"test/dog/1.png": colour(), "test/fox/1.png": colour()})
    with pytest.raises(DataError, match=r"photos/test: dog, fox: no such class in train$"):
        imagefolder("test", root, folder="photos")
    assert imagefolder("train", root, folder="photos").num_classes == 2
    for name in ("dog", "fox", "eel"):
        (root.path / "photos" / "test" / name).rename(root.path / name)
    test = imagefolder("test", root, folder="photos")
    assert (test.labels.tolist(), test.num_classes) == ([0], 2)


def test_every_training_class_without_images_is_named(photos):
    root, _ = photos
    for name in ("ant", "bee"):
        (root.path / "photos" / "train" / name).mkdir()
    with pytest.raises(DataError, match=r"photos/train: no images \(.png, .*\) in ant, bee$"):
        imagefolder("train", root, folder="photos")


def test_missing_and_empty_folders_are_named(photos):
    root, _ = photos
    with pytest.raises(DataError, match=r"nowhere/train: cannot be listed: No such file"):
        imagefolder("train", root, folder="nowhere")
    with pytest.raises(DataError, match=r"photos/val: cannot be listed: No such file"):
        imagefolder("test", root, folder="photos", test_folder="val")
    (root.path / "photos" / "val").mkdir()
    with pytest.raises(DataError, match=r"photos/val: holds no folders: each class is one"):
        imagefolder("test", root, folder="photos", test_folder="val")
    (root.path / "photos" / "val" / "cat").mkdir()
    with pytest.raises(DataError, match=r"photos/val: no images \(.*\) in any class"):
        imagefolder("test", root, folder="photos", test_folder="val")


def test_a_broken_image_is_named(photos):
    root, _ = photos
    path = root.path / "photos" / "test" / "eel" / "z.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=rf"^{path}: the image cannot be decoded: .*"):
        imagefolder("test", root, folder="photos")


def test_a_channel_without_any_spread_needs_a_given_std(tmp_path):
    root = write(tmp_path, {"train/a/1.png": np.full((4, 5), 7, np.uint8)})
    with pytest.raises(DataError, match="one value throughout: give mean and std"):
        imagefolder("train", root, folder="photos")
    assert imagefolder("train", root, folder="photos", mean=[0.0], std=[1.0]).shape == (1, 4, 5)


def test_the_folder_is_the_one_parameter_that_must_be_given():
    parameters = describe("dataset", "imagefolder").parameters
    assert [name for name, parameter in parameters.items() if parameter.default is REQUIRED] == ["folder"]
