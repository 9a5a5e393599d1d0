"""What every dataset, architecture and activation can be asked: generated images, further layers, places."""

import importlib
import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.activations.drelu import drelu
from tasks.activations.srelu import srelu
from tasks.config import Cell, Component
from tasks.model import build_model, load_split
from tasks.registry import FOLDERS, REQUIRED, describe, names, shared
from tasks.types import DataError, DataRoot, Split, TaskError

PLAIN = Split(torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]), ("a", "b", "c"), (0.5,), (0.25,))


def cell(**parts: tuple[str, dict]) -> Cell:
    usual = {
        "dataset": ("digits", {}),
        "architecture": ("mlp", {"hidden": [6, 5, 4]}),
        "activation": ("srelu", {"cap": 0.5}),
        "head": ("softmax", {}),
        "defense": ("natural", {}),
        "training": ("standard", {}),
    }
    chosen = {kind: Component(kind, name, 1, given) for kind, (name, given) in (usual | parts).items()}
    return Cell(**chosen, seed=0)


def kinds(model) -> list[str]:
    return [type(module).__name__ for module in model.activations]


@pytest.mark.parametrize("kind", ["dataset", "architecture", "activation"])
def test_every_component_of_a_kind_has_the_shared_parameters(kind):
    for name in names(kind):
        assert shared(kind).parameters.keys() <= describe(kind, name).parameters.keys()


@pytest.mark.parametrize("kind", ["dataset", "architecture", "activation"])
def test_they_are_those_of_the_function_that_acts_on_them_and_is_no_component(kind):
    function = getattr(importlib.import_module(f"tasks.{FOLDERS[kind]}._every"), shared(kind).function)
    keywords = {
        parameter.name: REQUIRED if parameter.default is parameter.empty else parameter.default
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert {name: found.default for name, found in shared(kind).parameters.items()} == keywords != {}
    assert not [name for name in names(kind) if name.startswith("_")]


@pytest.mark.parametrize(
    ("layers", "capped"), [(None, {0, 1, 2}), ([1], {0}), ([-1], {2}), ([2, -1], {1, 2}), ([], set())]
)
def test_an_activation_is_put_where_it_is_asked_for_and_relu_elsewhere(layers, capped):
    model = build_model(cell(activation=("srelu", {"cap": 0.5, "layers": layers})), PLAIN)
    own, other = type(srelu(cap=0.5)).__name__, type(build_model(cell(activation=("relu", {})), PLAIN).activations[0])
    assert kinds(model) == [own if place in capped else other.__name__ for place in range(3)]
    assert [id(m) for m in model.body.modules() if id(m) in set(map(id, model.activations))] == [
        *map(id, model.activations)
    ]


@pytest.mark.parametrize("layers", [[0], [4], [-4], [1, 9]])
def test_a_place_that_there_is_not_is_refused(layers):
    with pytest.raises(TaskError, match="are not among the architecture's 3 activations"):
        build_model(cell(activation=("srelu", {"layers": layers})), PLAIN)


def test_a_dense_layer_more_stands_before_the_head_with_the_cells_activation():
    wide = ("mlp", {"hidden": [6], "extra_dense": 11})
    model = build_model(cell(architecture=wide, activation=("drelu", {"layers": [-1]})), PLAIN)
    assert kinds(model)[1] == type(drelu()).__name__
    assert kinds(model)[0] != kinds(model)[1]
    assert model.head.in_features == model.body.width == 11
    caps = [parameter for name, parameter in model.named_parameters() if "cap" in name]
    assert [tuple(parameter.shape) for parameter in caps] == [(11,)]


def test_a_convolution_more_stands_right_after_the_input():
    model = build_model(cell(architecture=("mlp", {"hidden": [6], "extra_conv": 2})), PLAIN)
    first = next(module for module in model.body.modules() if isinstance(module, torch.nn.Conv2d))
    assert (first.in_channels, first.out_channels, first.kernel_size) == (1, 2, (3, 3))
    linear = next(module for module in model.body.modules() if isinstance(module, torch.nn.Linear))
    assert linear.in_features == 2 * 8 * 8
    assert len(model.activations) == 2
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 3)


def test_a_model_with_sizes_that_it_learns_at_its_first_pass_takes_stored_weights():
    wanted = cell(architecture=("mlp", {"hidden": [6], "extra_dense": 4}), activation=("drelu", {}))
    first, second = build_model(wanted, PLAIN), build_model(replace(wanted, seed=1), PLAIN)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.1)
    second.load_state_dict(first.state_dict())
    images = torch.rand(5, 1, 8, 8)
    assert torch.equal(first(images), second(images))


def write_generated(folder: Path) -> None:
    images = np.arange(10 * 8 * 8, dtype=np.uint8).reshape(10, 8, 8, 1)
    np.savez(folder / "more.npz", image=images, label=np.arange(10) % 10)


def test_generated_images_belong_to_the_training_split_alone(tmp_path):
    write_generated(tmp_path)
    wanted = Component("dataset", "digits", 1, {"generated": "more.npz", "share": 0.5})
    train, test = (load_split(wanted, split, DataRoot(tmp_path)) for split in ("train", "test"))
    assert train.mix.share == 0.5
    assert tuple(train.mix.images.shape) == (10, 1, 8, 8)
    assert train.mix.labels.tolist() == list(range(10))
    assert test.mix is None
    assert len(train.labels) == len(load_split(Component("dataset", "digits", 1), "train", DataRoot(tmp_path)).labels)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"share": 0.5}, "`generated` names no file"),
        ({"generated": "../more.npz", "share": 0.5}, "not inside the data root"),
        ({"generated": "absent.npz", "share": 0.5}, "absent.npz"),
    ],
)
def test_generated_images_that_cannot_be_are_refused(tmp_path, given, says):
    with pytest.raises(DataError, match=says):
        load_split(Component("dataset", "digits", 1, given), "train", DataRoot(tmp_path))
