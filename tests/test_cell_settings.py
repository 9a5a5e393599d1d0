"""What a cell is set to beside its components: what its network sees, and how its layers start."""

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from expansions import axes, cases, cells
from grids import answered, call, launch, write_spec
from old_stores import FOLDERS
from test_model import CELL, DIGITS, ROOT, TOY, same_weights
from torch import nn

from grid.errors import SpecError
from grid.spec.read import load_spec
from grid.spec.shipped import names, path_of
from tasks.cases import Budget
from tasks.config import CELL_PARTS, SETTINGS, Component, canonical, identify
from tasks.counted import CountedModel
from tasks.initialisation import draw_glorot_uniform
from tasks.model import Classifier, build_model, load_split
from tasks.needs import base_of, trained_as
from tasks.types import ModelError

RAW = replace(CELL, inputs="raw")
GLOROT = replace(CELL, initialisation="glorot_uniform")
AS_EVER = [f"{name}={values[0]}" for name, values in SETTINGS.items()]
SPLIT = load_split(DIGITS, "test", ROOT)


def test_a_cell_that_is_set_to_what_it_always_was_has_the_id_that_it_always_had():
    parts = {part: getattr(CELL, part).resolved() for part in CELL_PARTS}
    assert CELL.id == identify({**parts, "seed": 3})
    assert len({cell.id for cell in (CELL, RAW, GLOROT, replace(RAW, initialisation="glorot_uniform"))}) == 4
    for cell in (CELL, RAW, GLOROT):
        assert cell.part_of_id == canonical(cell.resolved())
    assert RAW.resolved() == {**CELL.resolved(), "inputs": "raw"}


@pytest.mark.parametrize("name", names())
def test_no_id_of_a_shipped_spec_says_what_was_always_so(name):
    profile = {"capped_relu": "table_4_2"}.get(name)
    for cell in cells(load_spec(path_of(name), profile=profile, overrides=AS_EVER)):
        assert set(cell.resolved()) == {*CELL_PARTS, "seed"}


def test_a_cell_that_another_one_needs_sees_and_starts_as_that_one():
    training = Component("training", "standard", 1, {"natural_epochs": 2, "epochs": 1})
    for cell in (RAW, GLOROT):
        assert base_of(replace(cell, training=training)).cell.settings == cell.settings
        assert trained_as(cell) == cell


def test_the_body_of_a_cell_of_raw_inputs_sees_pixels_as_they_are_after_what_a_defense_puts_before():
    head = nn.Linear(12, 2)
    about = {"shape": TOY.shape, "num_classes": 2, "mean": TOY.mean, "std": TOY.std}
    model = Classifier(nn.Flatten(), head, **about, inputs="raw")
    assert torch.equal(model(TOY.images), head(TOY.images.flatten(1)))
    model.input = nn.Hardtanh(0.2, 0.8)
    assert torch.equal(model(TOY.images), head(TOY.images.clamp(0.2, 0.8).flatten(1)))
    assert build_model(RAW, SPLIT).inputs == "raw"
    assert build_model(CELL, SPLIT).inputs == "standardised"
    assert same_weights(build_model(CELL, SPLIT), build_model(RAW, SPLIT))


@pytest.mark.parametrize("cell", [CELL, RAW])
def test_budgets_in_standardised_units_are_the_datasets_whatever_the_network_sees(cell):
    model, pixels = build_model(cell, SPLIT).eval(), SPLIT.images[:4]
    counted = CountedModel(model, torch.arange(4), Budget("linf", 0.1, "standardised"), num_classes=10)
    images = counted.inputs(pixels)
    assert torch.equal(images, (pixels - SPLIT.mean[0]) / SPLIT.std[0])
    assert torch.allclose(counted(images), model(pixels), atol=1e-5)
    assert float(counted.centre.abs().max()) == 0


def written(folder, **changes):
    block = {
        "dataset": "digits",
        "architecture": {"mlp": {"hidden": [8]}},
        "training": {"epochs": 1},
        "inputs": ["standardised", "raw"],
    }
    return write_spec(folder, cells=[block | changes.pop("block", {})], **{"attacks": [], **changes})


def test_a_spec_says_settings_for_all_its_blocks_and_a_block_for_itself(tmp_path):
    found = load_spec(written(tmp_path, initialisation="glorot_uniform", block={"seeds": [0, 1]}))
    settings = [(cell.seed, cell.inputs, cell.initialisation) for cell in cells(found)]
    assert settings == [(s, i, "glorot_uniform") for s in (0, 1) for i in ("standardised", "raw")]
    found = load_spec(written(tmp_path, inputs="standardised", block={"inputs": "raw"}))
    assert [cell.settings for cell in cells(found)] == [{"inputs": "raw"}]
    assert [cell.settings for cell in cells(load_spec(written(tmp_path), overrides=["cells.*.inputs=raw"]))] == [
        {"inputs": "raw"}
    ]


@pytest.mark.parametrize(
    ("said", "key", "message"),
    [
        ({"inputs": "normalised"}, "inputs", "'raw', not 'normalised'. Did you mean 'standardised'?"),
        ({"block": {"inputs": ["raw", "rwa"]}}, "cells.0.inputs.1", "not 'rwa'. Did you mean 'raw'?"),
        ({"block": {"inputs": []}}, "cells.0.inputs", "is an empty list"),
        ({"block": {"initialisation": {"torch": None}}}, "cells.0.initialisation", "not a map"),
        ({"block": {"initialization": "torch"}}, "cells.0.initialization", "Did you mean 'initialisation'?"),
        ({"exclude": [{"inputs": "row"}]}, "exclude.0.inputs", "Did you mean 'raw'?"),
        ({"attacks": [{"fgsm": {"eps": 0.1, "source": {"inputs": "row"}}}]}, "attacks.0.fgsm.source.inputs", "'raw'?"),
    ],
)
def test_what_is_no_setting_is_said_where_it_stands(tmp_path, said, key, message):
    with pytest.raises(SpecError) as caught:
        load_spec(written(tmp_path, **said))
    [problem] = caught.value.problems
    assert problem.key == key
    assert message in problem.message
    assert problem.line > 0


def test_rules_and_sources_name_a_setting_as_they_name_a_part(tmp_path):
    attacks = [{"fgsm": {"eps": 0.1, "source": {"inputs": ["standardised", "raw"], "initialisation": "torch"}}}]
    exclude = [{"inputs": "standardised", "source.inputs": "standardised"}]
    found = [(case.case.cell.inputs, axes(case.case)) for case in cases(load_spec(written(tmp_path, attacks=attacks)))]
    assert [(inputs, said["source"]) for inputs, said in found] == [
        *(("standardised", None), ("standardised", "inputs raw")),
        *(("raw", "inputs standardised"), ("raw", None)),
    ]
    assert found[-1][1]["cell_label"].endswith(" / epochs=1 / inputs raw / seed 0")
    assert "inputs" not in found[0][1]["cell_label"]
    kept = cases(load_spec(written(tmp_path, attacks=attacks, exclude=exclude)))
    assert len(kept) == 3


def test_weights_that_were_trained_elsewhere_are_for_standardised_inputs_and_no_other_start(tmp_path):
    body = {"resnet50": {"stem": "imagenet", "pretrained": True}}
    block = {
        "dataset": "cifar10",
        "architecture": [body, "mobilenet_v2"],
        "initialisation": [*SETTINGS["initialisation"]],
    }
    with pytest.raises(SpecError) as caught:
        load_spec(written(tmp_path, block=block))
    [problem] = caught.value.problems
    assert problem.key == "cells.0.architecture.0.resnet50"
    assert set(problem.message.split("; ")) == {
        "pretrained: the weights are for standardised inputs, not raw (inputs raw)",
        "pretrained: the weights are where it starts, not glorot_uniform (initialisation glorot_uniform)",
    }
    other = {**block, "architecture": body, "inputs": "standardised", "initialisation": "torch"}
    attacks = [{"fgsm": {"eps": 0.1, "source": {"inputs": "raw"}}}]
    assert load_spec(written(tmp_path, block=other))
    with pytest.raises(SpecError, match=r"its source cannot be: pretrained: the weights are for standardised inputs"):
        load_spec(written(tmp_path, block=other, attacks=attacks))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two cells that differ in their inputs, attacked in pixels and in standardised units."""
    folder = tmp_path_factory.mktemp("inputs")
    attack = {"fgsm": {"eps": 0.1, "space": {"each": ["pixel", "standardised"]}, "box": False, "attacked": "all"}}
    assert launch(written(folder, attacks=[attack]), folder / "store").exit_code == 0
    return folder / "store"


def test_cells_of_other_inputs_are_other_trainings_and_keep_the_same_budgets(store):
    digests = [json.loads(path.read_text())["weights_sha256"] for path in store.glob("cells/*/cell.json")]
    assert len(set(digests)) == 2
    query = "select inputs, space, max(linf) as largest from samples group by all"
    rows = answered(call("sql", store, query, "--json"))
    assert {(row["inputs"], row["space"]) for row in rows} == {
        (inputs, space) for inputs in ("standardised", "raw") for space in ("pixel", "standardised")
    }
    assert [row["largest"] for row in rows] == [pytest.approx(0.1, rel=1e-4)] * 4


def test_a_table_says_inputs_in_a_column_and_above_it_only_where_they_are_unusual(store):
    rows = answered(call("table", store, "--json"))
    assert {row["inputs"] for row in rows} == {"standardised", "raw"}
    assert {row["initialisation"] for row in rows} == {"torch"}
    for inputs in ("standardised", "raw"):
        text = call("table", store, "--where", f"inputs={inputs}").stdout
        assert text.count("fgsm") == 2
        assert ("inputs raw" in text) == (inputs == "raw")
        assert "initialisation" not in text


def test_a_store_from_before_reads_as_what_was_always_so(tmp_path, monkeypatch):
    shutil.copytree(FOLDERS[0], tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    views = ("wanted", "cells", "samples", "coverage")
    each = " union all ".join(f"select distinct inputs, initialisation from {view}" for view in views)
    found = answered(call("sql", "store", each, "--json"))
    assert found == [{"inputs": "standardised", "initialisation": "torch"}] * len(views)
    rows = answered(call("table", "store", "transfer", "--where", "inputs=standardised", "--json"))
    assert {(row["source_inputs"], row["inputs"]) for row in rows} == {("standardised", "standardised")}
    refused = call("table", "store", "--where", "inputs=raw")
    assert refused.exit_code == 2
    assert "standardised" in refused.stderr


def layers(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


@pytest.mark.parametrize("architecture", ["mlp", "cnn_small", "resnet_small"])
def test_glorot_uniform_weights_fill_their_bounds_and_biases_are_zero(architecture):
    cell = replace(GLOROT, architecture=Component("architecture", architecture, 1))
    model, usual = build_model(cell, SPLIT), build_model(replace(cell, initialisation="torch"), SPLIT)
    assert len(layers(model)) > 1
    for layer, other in zip(layers(model), layers(usual), strict=True):
        field = math.prod(layer.kernel_size) if isinstance(layer, nn.Conv2d) else 1
        bound = math.sqrt(6 / (field * (layer.weight.shape[0] + layer.weight.shape[1])))
        weight = layer.weight.detach()
        assert 0.9 * bound < float(weight.abs().max()) <= bound * (1 + 1e-6)
        assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert layer.bias is None or not layer.bias.any()
        assert not torch.equal(weight, other.weight)
    own = {name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    for name, value in model.state_dict().items():
        assert name.rpartition(".")[0] in own or torch.equal(value, usual.state_dict()[name])


def test_a_start_comes_from_the_seed_alone_and_not_from_the_head():
    torch.manual_seed(0)
    first = build_model(GLOROT, SPLIT)
    torch.manual_seed(1)
    assert same_weights(first, build_model(GLOROT, SPLIT))
    assert not same_weights(first, build_model(replace(GLOROT, seed=4), SPLIT))
    other = build_model(replace(GLOROT, head=Component("head", "softrmax", 1)), SPLIT)
    assert same_weights(first.body, other.body)


def test_a_layer_whose_weights_are_computed_cannot_be_drawn_anew():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    with pytest.raises(ModelError, match="weights of 0 are computed from others"):
        draw_glorot_uniform(nn.Sequential(layer))


def test_the_record_of_a_cell_says_what_it_was_set_to(store):
    found = [json.loads(path.read_text())["cell"].get("inputs") for path in store.glob("cells/*/cell.json")]
    assert sorted(map(str, found)) == ["None", "raw"]
