"""What datasets declare is what they hold and where their files lie; what is not so is said before anything runs."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from grids import call, launch, write_spec
from PIL import Image

from grid.plan.defaults import defaults
from grid.plan.expand import expand
from grid.plan.plan import NOTHING, make_plan
from grid.spec.read import load_spec
from grid.work.requirements import lacking as lacking_of
from grid.work.requirements import requirements
from tasks import data
from tasks.config import Component
from tasks.datasets import cifar100, emnist, kmnist, svhn, tiny_imagenet
from tasks.facts import chosen
from tasks.model import load_split, make
from tasks.registry import component, describe, names
from tasks.types import DataError, DataRoot, Split

REAL = Path(__file__).parent.parent.parent / "shared" / "data"
GIVEN = {"imagefolder": [{"folder": "my"}], "parquet": [{"folder": "my"}], "cifar10": [{}, {"jpeg": True}],
         "fashion_mnist": [{}, {"train_on": "test"}], "cifar100": [{}, {"labels": "coarse"}]}  # fmt: skip
ON_DISK = [(name, given, split) for name in names("dataset") if name != "digits"
           for given in GIVEN.get(name, [{}]) for split in ("train", "test")]  # fmt: skip
IS_MISSING = "missing in|holds neither|cannot be listed"


def dataset(name: str, **given) -> Component:
    return Component("dataset", name, 1, {**defaults("dataset", name), **given})


def declared(wanted: Component, split: str) -> list[str]:
    """The paths that a dataset declares, as they are on disk."""
    return [path.replace("*", "") for path in data._patterns(wanted, describe("dataset", wanted.name).facts, [split])]


def put(path: Path, name: str) -> None:
    if name.endswith("/"):
        (path / "a_class").mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(path / "a_class" / "black.png")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def real(tmp_path) -> Path:
    """A root in which the files of MNIST and Fashion-MNIST may be changed."""
    if not (REAL / "MNIST").is_dir() or not (REAL / "FashionMNIST").is_dir():
        pytest.skip(f"no MNIST and Fashion-MNIST files under {REAL}")
    for name in ("MNIST", "FashionMNIST"):
        (tmp_path / name / "raw").mkdir(parents=True)
        for file in (REAL / name / "raw").glob("*-ubyte"):
            (tmp_path / name / "raw" / file.name).symlink_to(file)
    return tmp_path


@pytest.mark.parametrize(("name", "given", "split"), ON_DISK)
def test_the_declared_files_are_those_without_which_a_split_cannot_be_read(tmp_path, name, given, split):
    wanted = dataset(name, **given)
    paths = declared(wanted, split)
    for path in paths:
        put(tmp_path / path, path)
    assert data.lacking(wanted, [split], tmp_path) == []
    with pytest.raises(DataError) as caught:  # empty as they are
        make(wanted, split, DataRoot(tmp_path))
    assert "missing in" not in str(caught.value)
    for path in paths:
        whole = tmp_path / path
        shutil.rmtree(whole) if path.endswith("/") else whole.unlink()
        (line,) = data.lacking(wanted, [split], tmp_path)
        assert whole.name in line.replace("*", "")
        with pytest.raises(DataError, match=IS_MISSING) as caught:
            make(wanted, split, DataRoot(tmp_path))
        assert whole.name in str(caught.value)
        put(whole, path)


def test_a_line_says_the_dataset_the_folder_the_files_and_what_fetches_them(tmp_path):
    (line,) = data.lacking(dataset("mnist"), ["test"], tmp_path)
    assert line == (
        f"mnist is missing in {tmp_path}/MNIST/raw: t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte: "
        "`--download` fetches them"
    )
    (line,) = data.lacking(dataset("tiny_imagenet"), ["test"], tmp_path)
    assert line == (
        f"tiny_imagenet is missing in {tmp_path}/tiny-imagenet-200: wnids.txt, words.txt, val/images/, "
        "val/val_annotations.txt: they are not downloaded for you"
    )


def test_what_is_downloaded_is_no_lack_and_what_is_not_stays_one(tmp_path):
    fetched = [name for name, given, _ in ON_DISK
               if not data.lacking(dataset(name, **given), ["train", "test"], tmp_path, download=True)]  # fmt: skip
    assert set(fetched) == {"cifar10", "cifar100", "emnist", "fashion_mnist", "kmnist", "mnist", "mnist_3_7", "svhn"}
    assert data.lacking(dataset("cifar10", jpeg=True), ["test"], tmp_path, download=True)


@pytest.mark.parametrize("folder", ["../my", "/etc", "a/../..", "C:\\my"])
def test_a_folder_outside_the_data_root_is_not_looked_into(tmp_path, folder):
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "train.parquet").touch()
    assert data.lacking(dataset("parquet", folder=folder), ["train"], tmp_path / "root")


def test_a_folder_is_taken_by_its_name_whatever_characters_that_has(tmp_path):
    (tmp_path / "my[1]{folder}*").mkdir()
    wanted = dataset("parquet", folder="my[1]{folder}*")
    assert data.lacking(wanted, ["train"], tmp_path)
    (tmp_path / "my[1]{folder}*" / "train-00000-of-00001.parquet").touch()
    assert data.lacking(wanted, ["train"], tmp_path) == []


def test_generated_images_that_are_missing_are_said_where_they_are_trained_on(tmp_path):
    wanted = dataset("digits", generated="edm/digits.npz", share=0.5)
    assert data.lacking(wanted, ["test"], tmp_path) == []
    (line,) = data.lacking(wanted, ["train", "test"], tmp_path, download=True)
    assert line == f"digits is also to be trained on {tmp_path}/edm/digits.npz, which is missing"


@pytest.mark.parametrize("name", ["mnist", "mnist_3_7", "fashion_mnist"])
def test_the_real_files_are_known_as_the_published_ones(real, name):
    splits = ["train", "test"]
    assert data.lacking(dataset(name), splits, real) == data.unknown(dataset(name), splits, real) == []
    facts = describe("dataset", name).facts
    assert facts.digests.keys() == {path for path in declared(dataset(name), "train") + declared(dataset(name), "test")
                                    if "labels" in path}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "folder", "other", "whose"),
    [
        ("mnist", "MNIST", "FashionMNIST", "fashion_mnist"),
        ("mnist_3_7", "MNIST", "FashionMNIST", "fashion_mnist"),
        ("fashion_mnist", "FashionMNIST", "MNIST", "mnist"),
        ("kmnist", "KMNIST", "MNIST", "mnist"),
    ],
)
def test_files_of_another_data_set_are_refused_by_name(real, name, folder, other, whose):
    moved = real / "moved"
    shutil.copytree(real / other, moved / folder, symlinks=True)
    labels = moved / folder / "raw" / "t10k-labels-idx1-ubyte"
    assert data.lacking(dataset(name), ["test"], moved) == [f"{name}: {labels} is {whose}'s"]
    with pytest.raises(DataError, match=f"{labels} is {whose}'s"):
        load_split(dataset(name), "test", DataRoot(moved))


def test_labels_that_are_nobodys_are_said_and_read(real):
    path = real / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    labels = bytearray(path.read_bytes())
    labels[8] = 3
    path.unlink()
    path.write_bytes(labels)
    assert data.lacking(dataset("mnist"), ["test"], real) == []
    assert data.unknown(dataset("mnist"), ["test"], real) == [f"mnist: {path} is not the published file"]
    assert load_split(dataset("mnist"), "test", DataRoot(real)).labels[0] == 3


def test_built_in_datasets_declare_their_shapes_and_classes():
    facts = {name: describe("dataset", name).facts for name in names("dataset")}
    assert {name for name, each in facts.items() if each.shape is None or each.classes is None} == {
        "imagefolder", "parquet",
    }  # fmt: skip
    assert facts["emnist"].classes == emnist._LAYOUT.num_classes == len(emnist._CLASSES)
    assert facts["emnist"].samples == emnist._LAYOUT.count["test"]
    assert facts["kmnist"].classes == len(kmnist._CLASSES)
    assert facts["cifar100"].classes == {"labels": {"fine": len(cifar100._FINE), "coarse": len(cifar100._COARSE)}}
    assert (facts["tiny_imagenet"].classes, facts["tiny_imagenet"].shape) == (
        tiny_imagenet._CLASSES, tiny_imagenet._SHAPE,
    )  # fmt: skip
    assert len(svhn._MEAN) == facts["svhn"].shape[0]


@pytest.mark.parametrize("wanted", [dataset("digits"), dataset("mnist"), dataset("mnist_3_7"),
                                    dataset("fashion_mnist"), dataset("cifar10", jpeg=True)],
                         ids=lambda wanted: wanted.name)  # fmt: skip
def test_what_is_declared_is_what_is_read(wanted):
    if not (REAL / "MNIST").is_dir():
        pytest.skip(f"no data under {REAL}")
    found = load_split(wanted, "test", DataRoot(REAL))
    facts = describe("dataset", wanted.name).facts
    assert (facts.samples, facts.shape) == (len(found.labels), found.shape)
    assert chosen(facts.classes, wanted.parameters) == found.num_classes


@component("dataset", version=1, samples=4, shape=(1, 2, 2), classes={"kind": {"two": 2, "three": 3}})
def toy(split: str, root: DataRoot, *, kind: str = "two") -> Split:
    """A dataset that may be another than it declares."""
    return offered


offered = Split(torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 1, 0]), ("a", "b"), (0.5,), (0.2,))
WHOLE = offered


@pytest.mark.parametrize(
    ("split", "images", "class_names", "kind", "says"),
    [
        ("test", torch.rand(3, 1, 2, 2), "ab", "two", "samples: 4 declared, 3 found"),
        ("train", torch.rand(3, 1, 2, 2), "ab", "two", ""),
        ("test", torch.rand(4, 1, 3, 2), "ab", "two", r"shape: \(1, 2, 2\) declared, \(1, 3, 2\) found"),
        ("train", torch.rand(4, 1, 3, 2), "ab", "two", r"shape: \(1, 2, 2\) declared"),
        ("test", torch.rand(4, 1, 2, 2), "ab", "three", "classes: 3 declared, 2 found"),
        ("test", torch.rand(4, 1, 2, 2), "abc", "three", ""),
        ("test", torch.rand(4, 1, 2, 2), "ab", "another", ""),
    ],
)
def test_a_split_that_is_not_what_its_dataset_declares_is_refused(monkeypatch, split, images, class_names, kind, says):
    found = Split(images, torch.tensor([0, 1, 1, 0])[: len(images)], tuple(class_names), (0.5,), (0.2,))
    monkeypatch.setattr(f"{__name__}.offered", found)
    wanted = Component("dataset", f"{__name__}:toy", 1, {"kind": kind})
    if says:
        with pytest.raises(DataError, match=f"the {split} split of {__name__}:toy: {says}"):
            load_split(wanted, split, DataRoot(Path("unused")))
    else:
        assert load_split(wanted, split, DataRoot(Path("unused"))) is found


def spec_of(folder: Path, *datasets, **changes) -> Path:
    cells = [{"dataset": list(datasets), "architecture": {"mlp": {"hidden": [8]}}, "training": {"epochs": 1}}]
    return write_spec(folder, cells=cells, attacks=[{"fgsm": {"eps": 0.1}}], **changes)


def test_plan_says_what_data_is_missing_and_ends_as_ever(tmp_path):
    spec = spec_of(tmp_path, "mnist", "digits", {"parquet": {"folder": "my"}})
    words = ("plan", spec, "--store", tmp_path / "store", "--data-root", tmp_path / "data")
    said, as_json = call(*words), call(*words, "--json")
    assert (said.exit_code, as_json.exit_code) == (0, 0)
    assert f"  data: mnist is missing in {tmp_path}/data/MNIST/raw: t" in said.stdout
    lines = json.loads(as_json.stdout)["data"]
    assert [line.partition(" in ")[0] for line in lines] == ["mnist is missing", "parquet is missing"]


def test_a_launch_without_its_data_runs_nothing_and_says_each_dataset_once(tmp_path):
    spec = spec_of(tmp_path, "mnist", "digits", "kmnist", "tiny_imagenet")
    result = launch(spec, tmp_path / "store", "--data-root", tmp_path / "data")
    assert result.exit_code == 2
    for name in ("mnist", "kmnist", "tiny_imagenet"):
        assert result.stderr.count(f"  {name} is missing in ") == 1
    assert not list((tmp_path / "store").rglob("*.safetensors"))
    assert not list((tmp_path / "store").glob("failures/*"))
    fetching = launch(spec, tmp_path / "store", "--data-root", tmp_path / "data", "--download", "--json")
    answer = json.loads(fetching.stdout)
    assert (answer["error"], answer["exit_code"]) == ("Missing", 2)
    assert "tiny_imagenet is missing" in answer["message"]
    assert " mnist is missing" not in answer["message"]


def test_a_complete_grid_needs_no_data(real):
    spec = spec_of(real, "mnist_3_7", samples={"count": 20})
    short = ("--set", "cells.*.training.samples=100")
    first = launch(spec, real / "store", *short, "--data-root", real)
    assert first.exit_code == 0, first.stderr
    assert "warning" not in first.stderr
    assert launch(spec, real / "store", *short, "--data-root", real / "elsewhere").exit_code == 0


def test_a_trained_cell_needs_no_training_images(tmp_path):
    wanted = list(expand(load_spec(spec_of(tmp_path, "mnist"))))
    names = ["images-idx3-ubyte", "labels-idx1-ubyte"]
    for name in names:
        put(tmp_path / "MNIST" / "raw" / f"t10k-{name}", name)
    untrained = make_plan(wanted, NOTHING, 100)
    (line,) = lacking_of(requirements(untrained, str(tmp_path), download=False))
    assert all(f"train-{name}" in line for name in names)
    assert "t10k" not in line
    trained = make_plan(wanted, NOTHING._replace(trained=lambda _: True, is_empty=False), 100)
    assert lacking_of(requirements(trained, str(tmp_path), download=False)) == []


def test_the_data_of_a_source_and_of_a_prepare_step_are_needed_too(tmp_path):
    attacks = [{"fgsm": {"eps": 0.1, "source": {"dataset": "fashion_mnist"}}}, {"universal": {"eps": 0.1}}]
    cells = [{"dataset": "mnist", "architecture": {"mlp": {"hidden": [8]}}}]
    wanted = [cell for cell in expand(load_spec(write_spec(tmp_path, cells=cells, attacks=attacks))) if cell.asked]
    plan = make_plan(wanted, NOTHING._replace(trained=lambda _: True, is_empty=False), 100)
    needed = {each.name: splits for each, splits in requirements(plan, "", download=False).splits}
    assert needed == {"mnist": ("test", "train"), "fashion_mnist": ("test",)}


def test_a_dataset_whose_module_is_not_here_is_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / "away_for_good.py").write_text(
        'from tasks.registry import component\n@component("dataset", version=1, samples=9)\ndef mine(split, root):\n'
        '    """Mine."""\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    plan = make_plan(expand(load_spec(spec_of(tmp_path, "away_for_good:mine"))), NOTHING, 100)
    required = requirements(plan, str(tmp_path), download=False)
    assert lacking_of(required) == []
    describe.__globals__["_described"].cache_clear()
    monkeypatch.undo()
    (line,) = lacking_of(required)
    assert line.startswith("dataset 'away_for_good:mine': there is no module 'away_for_good'")
