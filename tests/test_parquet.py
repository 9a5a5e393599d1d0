"""Datasets in Parquet files: the layout of the Hugging Face hub, and what is said of files that do not keep it."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tasks.config import Component
from tasks.datasets.parquet import parquet
from tasks.model import load_split
from tasks.registry import REQUIRED, describe
from tasks.types import DataError, DataRoot

RNG = np.random.default_rng(0)


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, kind)
    return made.getvalue()


def colour(count: int, height: int = 4, width: int = 5) -> list[np.ndarray]:
    return list(RNG.integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def table(images: list, labels: list, **columns: list) -> pa.Table:
    encoded = [image if isinstance(image, bytes) else encode(image) for image in images]
    return pa.table({"image": [{"bytes": data, "path": "some.png"} for data in encoded], "label": labels, **columns})


def write(root, tables: dict[str, pa.Table], folder: str = "photos") -> DataRoot:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name, content in tables.items():
        pq.write_table(content, root / folder / f"{name}.parquet")
    return DataRoot(root)


@pytest.fixture
def photos(tmp_path):
    """Six photographs to train on and two to test on."""
    images = colour(8)
    root = write(tmp_path, {"train": table(images[:6], [2, 0, 1, 0, 1, 2]), "test": table(images[6:], [1, 2])})
    return root, images


def as_tensor(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def test_images_and_labels_come_in_the_order_of_the_file(photos):
    root, images = photos
    train, test = parquet("train", root, folder="photos"), parquet("test", root, folder="photos")
    assert torch.equal(train.images, as_tensor(images[:6]))
    assert torch.equal(test.images, as_tensor(images[6:]))
    assert (train.labels.tolist(), test.labels.tolist()) == ([2, 0, 1, 0, 1, 2], [1, 2])
    assert (train.images.dtype, train.labels.dtype) == (torch.uint8, torch.int64)


def test_mean_and_std_are_those_of_the_training_images_in_both_splits(photos):
    root, images = photos
    pixels = np.stack(images[:6]) / 255
    for split in ("train", "test"):
        found = parquet(split, root, folder="photos")
        assert found.mean == pytest.approx(pixels.mean(axis=(0, 1, 2)), abs=1e-12)
        assert found.std == pytest.approx(pixels.std(axis=(0, 1, 2)), abs=1e-12)


def test_a_given_mean_is_kept_and_the_std_that_is_not_given_is_computed(photos):
    root, images = photos
    found = parquet("test", root, folder="photos", mean=[0.0, 0.5, 1.0])
    assert found.mean == (0.0, 0.5, 1.0)
    assert found.std == pytest.approx((np.stack(images[:6]) / 255).std(axis=(0, 1, 2)), abs=1e-12)


def test_with_mean_and_std_given_no_training_image_is_decoded(tmp_path):
    root = write(tmp_path, {"train": table([b"no image"], [0]), "test": table(colour(1), [0])})
    found = parquet("test", root, folder="photos", mean=[0.5] * 3, std=[0.2] * 3)
    assert (len(found.labels), found.std) == (1, (0.2, 0.2, 0.2))


def test_the_harness_takes_what_the_component_makes(photos):
    root, _ = photos
    component = Component("dataset", "parquet", 1, {"folder": "photos"})
    assert load_split(component, "test", root).shape == (3, 4, 5)
    wrong = Component("dataset", "parquet", 1, {"folder": "photos", "mean": [0.5]})
    with pytest.raises(DataError, match=r"mean \(0.5,\) .* do not fit 3 channels"):
        load_split(wrong, "test", root)


def test_files_of_one_split_are_read_in_the_order_of_their_numbers(tmp_path):
    images = colour(6)
    parts = {f"train-{i:05}-of-00003-0f3a": table(images[2 * i : 2 * i + 2], [2 * i, 2 * i + 1]) for i in range(3)}
    root = write(tmp_path, dict(reversed(parts.items())), "photos/data")
    found = parquet("train", root, folder="photos/data")
    assert torch.equal(found.images, as_tensor(images))
    assert found.labels.tolist() == list(range(6))


def test_a_missing_or_a_doubled_part_is_refused(tmp_path):
    root = write(tmp_path, {f"train-{i:05}-of-00003": table(colour(1), [i]) for i in (0, 2)})
    with pytest.raises(DataError, match=r"not one whole train split: train-00000-of-00003.parquet, train-00002-of"):
        parquet("train", root, folder="photos")
    write(tmp_path, {"train-00001-of-00003": table(colour(1), [1])})
    assert len(parquet("train", root, folder="photos").labels) == 3
    write(tmp_path, {"train": table(colour(1), [1])})
    with pytest.raises(DataError, match=r"not one whole train split: train-0.*, train.parquet"):
        parquet("train", root, folder="photos")


def test_other_files_in_the_folder_are_let_be(photos):
    root, _ = photos
    write(root.path, {"train_extra": table(colour(1), [9]), "testing": table(colour(1), [9])})
    assert parquet("train", root, folder="photos").num_classes == 3


def test_class_names_are_those_of_the_hugging_face_schema(tmp_path):
    features = {"info": {"features": {"label": {"names": ["cat", "dog", "eel"], "_type": "ClassLabel"}}}}
    named = {"huggingface": json.dumps(features)}
    train = table(colour(2), [2, 0]).replace_schema_metadata(named)
    root = write(tmp_path, {"train": train, "test": table(colour(1), [2])})
    for split, labels in (("train", [2, 0]), ("test", [2])):
        found = parquet(split, root, folder="photos")
        assert (found.class_names, found.labels.tolist()) == (("cat", "dog", "eel"), labels)


@pytest.mark.parametrize("metadata", ["no JSON", "[]", '{"info": {"features": {"label": {"dtype": "int64"}}}}'])
def test_without_class_names_the_sorted_training_labels_are_the_classes(tmp_path, metadata):
    train = table(colour(3), [9, 3, 7]).replace_schema_metadata({"huggingface": metadata})
    root = write(tmp_path, {"train": train, "test": table(colour(1), [7])})
    assert parquet("train", root, folder="photos").labels.tolist() == [2, 0, 1]
    test = parquet("test", root, folder="photos")
    assert (test.class_names, test.labels.tolist()) == (("3", "7", "9"), [1])


def test_labels_may_be_text_also_in_a_dictionary(tmp_path):
    train = table(colour(3), ["dog", "cat", "dog"])
    train = train.set_column(1, "label", train["label"].dictionary_encode())
    root = write(tmp_path, {"train": train, "test": table(colour(1), ["dog"])})
    assert parquet("train", root, folder="photos").labels.tolist() == [1, 0, 1]
    test = parquet("test", root, folder="photos")
    assert (test.class_names, test.labels.tolist()) == (("cat", "dog"), [1])


def test_images_may_be_plain_bytes_under_other_names(tmp_path):
    images = colour(2)
    plain = pa.table({"img": list(map(encode, images)), "fine_label": pa.array([0, 1], pa.uint8())})
    root = write(tmp_path, {"train": plain})
    found = parquet("train", root, folder="photos", image="img", label="fine_label")
    assert torch.equal(found.images, as_tensor(images))


@pytest.mark.parametrize(("kind", "far"), [("PNG", 0), ("BMP", 0), ("JPEG", 40), ("WEBP", 40)])
def test_every_format_is_decoded_to_the_pixels_that_were_encoded(tmp_path, kind, far):
    ramp = np.linspace(0, 255, 16 * 16).astype(np.uint8).reshape(16, 16)
    smooth = np.stack([ramp, ramp.T, 255 - ramp], axis=-1)
    root = write(tmp_path, {"train": table([encode(smooth, kind)], [0])})
    found = parquet("train", root, folder="photos")
    assert (found.images[0].int() - as_tensor([smooth])[0].int()).abs().max() <= far


def test_grey_images_have_one_channel_and_mode_converts(tmp_path):
    grey, photo = RNG.integers(0, 256, (4, 5), dtype=np.uint8), colour(1)[0]
    root = write(tmp_path, {"train": table([grey, grey // 2], [0, 1])})
    assert parquet("train", root, folder="photos").shape == (1, 4, 5)
    root = write(tmp_path, {"train": table([grey, photo], [0, 1])})
    with pytest.raises(DataError, match=r"train.parquet: row 1: the image has shape \(3, 4, 5\).*\(1, 4, 5\).*mode"):
        parquet("train", root, folder="photos")
    rgb = parquet("train", root, folder="photos", mode="rgb").images
    assert torch.equal(rgb, as_tensor([np.repeat(grey[:, :, None], 3, axis=2), photo]))
    assert torch.equal(parquet("train", root, folder="photos", mode="grey").images[0, 0], torch.from_numpy(grey))


def test_images_that_are_neither_grey_nor_colour_are_refused_unless_they_can_be_converted(tmp_path):
    with_alpha = RNG.integers(0, 256, (4, 5, 4), dtype=np.uint8)
    root = write(tmp_path, {"train": table([with_alpha], [0])})
    with pytest.raises(DataError, match="row 0: the image has mode RGBA, not L or RGB; mode: rgb or mode: grey"):
        parquet("train", root, folder="photos")
    found = parquet("train", root, folder="photos", mode="rgb")
    assert torch.equal(found.images, as_tensor([with_alpha[:, :, :3]]))
    deep = RNG.integers(0, 65536, (4, 5), dtype=np.uint16)
    root = write(tmp_path, {"train": table([deep], [0])})
    with pytest.raises(DataError, match="row 0: the image has mode I;16"):
        parquet("train", root, folder="photos", mode="grey")


def test_the_first_image_of_another_size_is_named_and_size_and_crop_make_all_alike(tmp_path):
    images = [*colour(2, 8, 12), *colour(1, 16, 8)]
    root = write(tmp_path, {"train": table(images, [0, 1, 0])})
    with pytest.raises(DataError, match=r"row 2: the image has shape \(3, 16, 8\), but those before it \(3, 8, 12\)"):
        parquet("train", root, folder="photos")
    assert parquet("train", root, folder="photos", size=6, crop=5).shape == (3, 5, 5)
    cropped = parquet("train", root, folder="photos", crop=8)
    assert torch.equal(cropped.images[0], as_tensor([images[0][:, 2:10]])[0])
    with pytest.raises(DataError, match="row 0: the image is 12 wide and 8 high: no square of 9 fits into it"):
        parquet("train", root, folder="photos", crop=9)


def test_size_and_crop_are_what_torchvision_makes_of_the_picture(tmp_path):
    functional = pytest.importorskip("torchvision.transforms.functional")
    image = colour(1, 23, 37)[0]
    root = write(tmp_path, {"train": table([image], [0])})
    found = parquet("train", root, folder="photos", size=14, crop=11)
    expected = functional.center_crop(functional.resize(Image.fromarray(image), [14]), [11])
    assert torch.equal(found.images, as_tensor([np.asarray(expected)]))


@pytest.mark.parametrize("folder", ["..", "a/../../b", "/etc", "..\\x", "C:\\x", "\\x", "a\0b"])
def test_a_folder_outside_the_data_root_is_refused(tmp_path, folder):
    write(tmp_path / "a", {"train": table(colour(1), [0])})
    with pytest.raises(DataError, match="is not inside the data root"):
        parquet("train", DataRoot(tmp_path / "a" / "photos"), folder=folder)


def test_missing_folders_and_files_are_named(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}/photos: cannot be listed: No such file"):
        parquet("train", DataRoot(tmp_path), folder="photos")
    root = write(tmp_path, {"test": table(colour(1), [0])})
    with pytest.raises(DataError, match=r"photos: holds neither train.parquet nor train-00000-of"):
        parquet("test", root, folder="photos")


@pytest.mark.parametrize("damage", [lambda raw: raw[:-100], lambda _: b"", lambda _: b"PAR1 not", lambda raw: raw[9:]])
def test_a_file_that_is_truncated_or_no_parquet_is_refused(photos, damage):
    root, _ = photos
    path = root.path / "photos" / "train.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"train.parquet: not a whole Parquet file: "):
        parquet("train", root, folder="photos")


@pytest.mark.parametrize("missing", ["image", "label"])
def test_a_column_that_is_not_there_is_refused_with_those_that_are(photos, missing):
    root, _ = photos
    with pytest.raises(DataError, match=r"train.parquet: no column 'x'. There are: 'image', 'label'"):
        parquet("train", root, folder="photos", **{missing: "x"})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [1, 2], "label": [0, 1]}, "column 'image' holds int64: images are binary, or struct<bytes"),
        ({"image": [{"path": "a"}] * 2, "label": [0, 1]}, "column 'image' holds struct<path: string>: images are"),
        ({"image": [b"", b""], "label": [0.0, 1.0]}, "column 'label' holds double: labels are integers or text"),
        ({"image": [b"", b""], "label": [0, None]}, "row 1 has no 'label'"),
        (
            {"image": [{"bytes": None, "path": "a.png"}] * 2, "label": [0, 1]},
            "column 'image' holds null: images are binary",
        ),
        ({"image": [None, b""], "label": [0, 1]}, "row 0 has no image bytes"),
        ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}, "train.parquet: no rows"),
    ],
)
def test_columns_of_other_types_and_empty_places_are_refused(tmp_path, columns, message):
    root = write(tmp_path, {"train": pa.table(columns)})
    with pytest.raises(DataError, match=message):
        parquet("train", root, folder="photos")


def test_a_null_struct_is_no_image_whatever_lies_beneath_it(tmp_path):
    data = pa.array([encode(colour(1)[0])] * 2)
    hidden = pa.StructArray.from_arrays([data], ["bytes"], mask=pa.array([False, True]))
    root = write(tmp_path, {"train": pa.table({"image": hidden, "label": [0, 1]})})
    with pytest.raises(DataError, match="row 1 has no image bytes"):
        parquet("train", root, folder="photos")


def test_bytes_that_are_no_image_are_named_with_file_and_row(tmp_path):
    images = colour(3)
    root = write(tmp_path, {"train": table([*images[:2], b"%!PS-Adobe-3.0 EPSF-3.0"], [0, 1, 0])})
    with pytest.raises(DataError, match=r"train.parquet: row 2: 23 bytes that are no JPEG, PNG, WEBP, BMP image"):
        parquet("train", root, folder="photos")
    root = write(tmp_path, {"train": table([images[0], encode(images[1], "JPEG")[:-30]], [0, 1])})
    with pytest.raises(DataError, match=r"train.parquet: row 1: the image cannot be decoded: .*truncated"):
        parquet("train", root, folder="photos")


def test_a_test_label_that_no_training_image_has_is_refused(tmp_path):
    root = write(tmp_path, {"train": table(colour(2), [0, 1]), "test": table(colour(3), [0, -1, 5])})
    with pytest.raises(DataError, match="column 'label' holds -1, which is none of the 2 labels of the training split"):
        parquet("test", root, folder="photos")


def test_labels_that_are_text_in_one_file_only_are_refused(tmp_path):
    parts = {"train-00000-of-00002": table(colour(1), [0]), "train-00001-of-00002": table(colour(1), ["a"])}
    with pytest.raises(DataError, match="column 'label' is text in one file and integers in another"):
        parquet("train", write(tmp_path, parts), folder="photos")


def test_a_channel_without_any_spread_needs_a_given_std(tmp_path):
    root = write(tmp_path, {"train": table([np.full((4, 5), 7, np.uint8)], [0])})
    with pytest.raises(DataError, match="one value throughout: give mean and std"):
        parquet("train", root, folder="photos")
    assert parquet("train", root, folder="photos", mean=[0.0], std=[1.0]).shape == (1, 4, 5)


def test_the_folder_is_the_one_parameter_that_must_be_given():
    parameters = describe("dataset", "parquet").parameters
    assert [name for name, parameter in parameters.items() if parameter.default is REQUIRED] == ["folder"]
    assert parameters["mode"].text == "Literal['rgb', 'grey'] | None"
