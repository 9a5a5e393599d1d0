"""Tiny ImageNet: the folders of the published archive, and what is said of missing, torn or foreign files."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.datasets import tiny_imagenet as module
from tasks.datasets.tiny_imagenet import tiny_imagenet
from tasks.registry import describe
from tasks.types import DataError, DataRoot

WNIDS = ("n02124075", "n01443537", "n04067472")
"""As `wnids.txt` has them: not sorted."""
WORDS = {"n00001740": "entity", "n01443537": "goldfish, Carassius auratus", "n02124075": "Egyptian cat"}
WORDS |= {"n04067472": "reel", "n09999999": "façade"}
TRAIN, TEST = 4, 6


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Three classes of four training images, and six test images, instead of 200 of 500, and 10,000."""
    for name, value in (("_CLASSES", len(WNIDS)), ("_TRAIN", TRAIN), ("_TEST", TEST)):
        monkeypatch.setattr(module, name, value)
    return write(tmp_path / "tiny-imagenet-200")


def picture(seed: int, mode: str = "RGB", side: int = 64) -> bytes:
    made = io.BytesIO()
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).convert(mode).save(made, "JPEG", quality=90)
    return made.getvalue()


def decoded(path: Path) -> torch.Tensor:
    with Image.open(path) as opened:
        return torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1)


def write(place: Path) -> Path:
    for number, wnid in enumerate(WNIDS):
        (place / "train" / wnid / "images").mkdir(parents=True)
        (place / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t63\t63\n")
        for image in range(TRAIN):
            (place / "train" / wnid / "images" / f"{wnid}_{image}.JPEG").write_bytes(picture(10 * number + image))
    (place / "val" / "images").mkdir(parents=True)
    rows = []
    for image in (3, 0, 5, 1, 4, 2):
        (place / "val" / "images" / f"val_{image}.JPEG").write_bytes(picture(100 + image))
        rows.append(f"val_{image}.JPEG\t{WNIDS[image % 3]}\t0\t32\t44\t62\n")
    (place / "val" / "val_annotations.txt").write_text("".join(rows))
    (place / "wnids.txt").write_text("\n".join(WNIDS))
    (place / "words.txt").write_text("".join(f"{wnid}\t{words}\n" for wnid, words in WORDS.items()), "latin-1")
    return place


def read(place: Path, split: str):
    return tiny_imagenet(split, DataRoot(place.parent))


def test_classes_are_in_the_order_of_their_sorted_wordnet_ids(place):
    for split in ("train", "test"):
        assert read(place, split).class_names == ("goldfish, Carassius auratus", "Egyptian cat", "reel")


def test_training_images_come_class_by_class_and_by_file_name(place):
    found = read(place, "train")
    assert found.labels.tolist() == [0] * TRAIN + [1] * TRAIN + [2] * TRAIN
    files = [place / "train" / wnid / "images" / f"{wnid}_{i}.JPEG" for wnid in sorted(WNIDS) for i in range(TRAIN)]
    assert torch.equal(found.images, torch.stack([decoded(path) for path in files]))
    assert (found.shape, found.images.dtype) == ((3, 64, 64), torch.uint8)


def test_test_images_come_in_the_order_of_their_annotations(place):
    found = read(place, "test")
    order = (3, 0, 5, 1, 4, 2)
    assert found.labels.tolist() == [sorted(WNIDS).index(WNIDS[image % 3]) for image in order]
    files = [place / "val" / "images" / f"val_{image}.JPEG" for image in order]
    assert torch.equal(found.images, torch.stack([decoded(path) for path in files]))


def test_mean_and_std_are_the_published_constants(place):
    found = read(place, "test")
    assert found.mean == (0.4802, 0.4481, 0.3975)
    assert found.std == (0.2770, 0.2691, 0.2821)


def test_the_test_split_is_declared_to_have_the_published_validation_images():
    assert describe("dataset", "tiny_imagenet").facts.samples == module._TEST == 10_000
    assert (module._CLASSES, module._TRAIN) == (200, 500)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_images_of_other_colours_become_rgb(place, mode):
    path = place / "train" / "n01443537" / "images" / "n01443537_2.JPEG"
    path.write_bytes(picture(7, mode))
    image = read(place, "train").images[2]
    assert torch.equal(image, decoded(path))
    assert torch.equal(image[0], image[2]) == (mode == "L")


def test_what_is_missing_is_named_at_once_with_where_to_get_it(tmp_path):
    with pytest.raises(DataError) as caught:
        tiny_imagenet("test", DataRoot(tmp_path, download=True))
    message = str(caught.value)
    assert f"missing in {tmp_path}/tiny-imagenet-200: wnids.txt, words.txt, val/images, val/val_annota" in message
    assert "http://cs231n.stanford.edu/tiny-imagenet-200.zip" in message


def test_one_split_needs_not_the_images_of_the_other(place):
    (place / "val" / "images").rename(place / "elsewhere")
    assert len(read(place, "train").labels) == 12
    with pytest.raises(DataError, match=r"missing in .*tiny-imagenet-200: val/images\."):
        read(place, "test")


def test_every_class_without_its_number_of_images_is_named(place):
    (place / "train" / "n01443537" / "images" / "n01443537_3.JPEG").unlink()
    (place / "train" / "n04067472").rename(place / "train" / "elsewhere")
    with pytest.raises(DataError) as caught:
        read(place, "train")
    assert f"{place}/train/n01443537/images: 3 images, not 4" in str(caught.value)
    assert f"{place}/train/n04067472/images: 0 images, not 4" in str(caught.value)


def test_hidden_and_other_files_beside_the_images_are_let_be(place):
    for name in ("._n01443537_0.JPEG", "Thumbs.db"):
        (place / "train" / "n01443537" / "images" / name).write_bytes(b"no image")
    assert len(read(place, "train").labels) == 12


def test_all_broken_images_are_counted_and_the_first_are_named(place):
    for image in range(TEST):
        (place / "val" / "images" / f"val_{image}.JPEG").write_bytes(picture(image)[:-200])
    (place / "val" / "images" / "val_0.JPEG").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read(place, "test")
    lines = str(caught.value).splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("6 problems", "  and 1 more", 7)
    assert "val_3.JPEG: the image cannot be decoded: " in lines[1]
    assert "truncated" in lines[1]
    assert "val_0.JPEG: 0 bytes that are no JPEG" in lines[2]


def test_an_image_of_another_size_is_refused(place):
    path = place / "val" / "images" / "val_1.JPEG"
    path.write_bytes(picture(0, side=32))
    with pytest.raises(DataError, match=rf"^{path}: the image has shape \(3, 32, 32\), not \(3, 64, 64\)$"):
        read(place, "test")


def test_validation_images_that_were_moved_into_class_folders_are_missed(place):
    for image in (0, 3):
        (place / "val" / "images" / f"val_{image}.JPEG").unlink()
    with pytest.raises(DataError, match=r"(?s)2 problems.*val_3.JPEG: missing.*val_0.JPEG: missing"):
        read(place, "test")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wnids.txt", "n01443537\nn01443537\nn02124075\n", "wnids.txt: lists 2 different classes, not 3"),
        ("wnids.txt", "", "wnids.txt: lists 0 different classes, not 3"),
        ("words.txt", "n01443537\tgoldfish\n", "words.txt: has no words for n02124075, n04067472"),
        ("val/val_annotations.txt", "val_0.JPEG\tn01443537\n" * 6, "labels 6 images, not 6 different ones"),
        ("val/val_annotations.txt", "val_0.JPEG\tn01443537\n", "labels 1 images, not 6 different ones"),
        (
            "val/val_annotations.txt",
            "".join(f"val_{image}.JPEG n01443537\n" for image in range(6)),
            "line 1: class '' is not in wnids.txt",
        ),
        (
            "val/val_annotations.txt",
            "".join(f"val_{image}.JPEG\tn0{image}\t0\n" for image in range(6)),
            "val_annotations.txt: line 1: class 'n00' is not in wnids.txt",
        ),
        (
            "val/val_annotations.txt",
            "".join(f"../images/val_{image}.JPEG\tn01443537\n" for image in range(6)),
            "images/val_0.JPEG: missing",
        ),
    ],
)
def test_lists_that_are_not_the_published_ones_are_refused(place, name, content, message):
    (place / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read(place, "test")
