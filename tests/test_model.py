"""The classifier of a cell: what it computes, how its weights are drawn, and what a dataset must keep to."""

import inspect
import typing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tasks.config import Cell, Component
from tasks.facts import declared
from tasks.model import Classifier, build_model, derive_seed, load_split, seeded
from tasks.registry import REQUIRED, component, describe, load, names, shared
from tasks.types import DataError, DataRoot, Split

ROOT = DataRoot(Path("unused"))
DIGITS = Component("dataset", "digits", 1)
CELL = Cell(
    dataset=DIGITS,
    architecture=Component("architecture", "mlp", 1, {"hidden": [32]}),
    activation=Component("activation", "relu", 1),
    head=Component("head", "softmax", 1),
    defense=Component("defense", "natural", 1),
    training=Component("training", "standard", 1),
    seed=3,
)
KINDS = ("dataset", "architecture", "activation", "head", "defense", "training")
COMPONENTS = [(kind, name) for kind in KINDS for name in names(kind)]

TOY = Split(torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 1, 0]), ("a", "b"), (0.5, 0.4, 0.3), (0.2, 0.1, 0.4))
offered = TOY


@component("dataset", version=1)
def toy(split: str, root: DataRoot) -> Split:
    """A dataset of another package, as the registry finds it by `test_model:toy`."""
    return offered


NEEDED = {
    **{name: ["folder"] for name in ("imagefolder", "parquet")},
    **{name: ["eps"] for name in ("fgsm_training", "mixed_training", "pgd_training", "trades")},
    "combined": ["parts"],
}
"""The parameters that a component cannot be without."""


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_what_is_read_from_the_source_is_what_python_sees(kind, name):
    function = load(kind, name)
    hints = typing.get_type_hints(function, include_extras=True)
    keywords = {
        parameter.name: (hints[parameter.name], REQUIRED if parameter.default is parameter.empty else parameter.default)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    described = describe(kind, name)
    own = {name: found for name, found in described.parameters.items() if name not in shared(kind).parameters}
    assert {key: (found.type, found.default) for key, found in own.items()} == keywords
    needed = [key for key, found in described.parameters.items() if found.default is REQUIRED]
    assert needed == NEEDED.get(name, [])
    said = dict(function.component)
    assert (said.pop("kind"), said.pop("version"), said.pop("paper")) == (kind, described.version, described.paper)
    assert said.pop("added") == {name: value for name, value in described.added.items() if name in own}
    assert declared(kind, said) == described.facts


def test_a_classifier_standardises_each_channel_and_then_applies_body_and_head():
    head = nn.Linear(12, 2)
    model = Classifier(nn.Flatten(), head, shape=TOY.shape, num_classes=TOY.num_classes, mean=TOY.mean, std=TOY.std)
    standardised = torch.stack([(TOY.images[:, c] - TOY.mean[c]) / TOY.std[c] for c in range(3)], dim=1)
    assert torch.allclose(model(TOY.images), head(standardised.flatten(1)))
    assert model.double()(TOY.images.double()).dtype == torch.float64


def test_a_built_model_fits_its_split_and_takes_log_probabilities_from_its_head():
    split = load_split(DIGITS, "test", ROOT)
    model = build_model(CELL, split)
    scores = model(split.images[:6])
    assert scores.shape == (6, 10)
    assert (model.shape, model.num_classes) == ((1, 8, 8), 10)
    assert torch.equal(model.log_probabilities(scores), torch.log_softmax(scores, dim=1))


def test_the_weights_come_from_the_seed_alone():
    split = load_split(DIGITS, "test", ROOT)
    torch.manual_seed(0)
    first = build_model(CELL, split)
    torch.manual_seed(1)
    assert same_weights(first, build_model(CELL, split))
    assert not same_weights(first, build_model(replace(CELL, seed=4), split))


def test_cells_that_differ_in_their_head_start_from_the_same_body():
    split = load_split(DIGITS, "test", ROOT)
    other = build_model(replace(CELL, head=Component("head", "softrmax", 1)), split)
    assert same_weights(build_model(CELL, split).body, other.body)


def test_building_a_model_leaves_the_global_random_state_alone():
    split = load_split(DIGITS, "test", ROOT)
    before = torch.get_rng_state()
    build_model(CELL, split)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seeded_block_repeats_itself_even_after_an_error():
    before = torch.get_rng_state()
    drawn = []

    def draw_and_fail() -> None:
        with seeded(5, torch.device("cpu")):
            drawn.append(torch.rand(3))
            raise RuntimeError("on purpose")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="on purpose"):
            draw_and_fail()
    assert torch.equal(*drawn)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_of_other_purposes_and_cells_differ():
    seeds = [derive_seed(seed, purpose) for seed in range(-5, 100) for purpose in ("weights", "order", "training")]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_dataset_of_another_package_is_loaded_by_name():
    loaded = load_split(Component("dataset", f"{__name__}:toy", 1), "train", ROOT)
    assert loaded is TOY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": TOY.images[0]}, "images are torch.float32"),
        ({"images": TOY.images.double()}, "images are torch.float64"),
        ({"images": TOY.images * 2 + 0.1}, "pixels go from"),
        ({"images": TOY.images * torch.nan}, "pixels go from nan"),
        ({"labels": torch.tensor([0, 1])}, "labels are torch.int64"),
        ({"labels": TOY.labels.int()}, "labels are torch.int32"),
        ({"labels": TOY.labels + 1}, "labels go from 1 to 2, but there are 2 classes"),
        ({"labels": TOY.labels - 1}, "labels go from -1 to 0"),
        ({"mean": (0.5,)}, "do not fit 3 channels"),
        ({"std": (0.5, 0.0, 0.5)}, "do not fit 3 channels"),
        ({"images": TOY.images[:0], "labels": TOY.labels[:0]}, "for 0 images"),
    ],
)
def test_a_dataset_that_breaks_its_contract_is_refused(change, message, monkeypatch):
    monkeypatch.setattr(f"{__name__}.offered", replace(TOY, **change))
    with pytest.raises(DataError, match=message):
        load_split(Component("dataset", f"{__name__}:toy", 1), "train", ROOT)


def test_a_split_that_no_dataset_has_is_refused():
    with pytest.raises(ValueError, match="not 'validation'"):
        load_split(DIGITS, "validation", ROOT)
