"""A parameter that is added later redoes nothing: with the constant that it stood for before, it is in no id.

Stores are made by this code, and asked by a copy of it in which a built-in component has one parameter more.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from expansions import cells
from grids import HERE, answered, call, environment, launch, write_spec

from grid.plan.defaults import added
from grid.plan.rule_index import ABSENT, parameter_of
from grid.spec.read import load_spec
from tasks.config import Component, grown
from tasks.needs import trained_as

ROOT = HERE.parent
FACTS = "    samples=597,\n"
SIGNATURE = "def digits(split: str, root: DataRoot"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("before")
    assert launch(write_spec(folder), folder / "store").exit_code == 0
    return folder / "store"


@pytest.fixture
def grown_code(tmp_path):
    """A copy of the code in which digits has a parameter `inputs`, as a test declares it."""

    def write(declared, default):
        for folder in ("grid", "tasks"):
            shutil.copytree(ROOT / folder, tmp_path / "code" / folder, dirs_exist_ok=True)
        path = tmp_path / "code" / "tasks" / "datasets" / "digits.py"
        source = (ROOT / "tasks" / "datasets" / "digits.py").read_text()
        assert SIGNATURE in source
        assert FACTS in source
        source = source.replace(FACTS, FACTS + declared)
        path.write_text(source.replace(SIGNATURE, f'{SIGNATURE}, *, inputs: str = "{default}"'))
        return tmp_path / "code"

    return write


def asked(code, *words):
    """What a command of other code answers, with `--json`."""
    answer = subprocess.run(
        [sys.executable, "-m", "grid", *map(str, words), "--json"],
        env={**environment(), "PYTHONPATH": os.pathsep.join([str(code), str(HERE)])},
        cwd=code,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def to_train(code, spec, store):
    plan = asked(code, "plan", spec, "--store", store)
    assert plan["cells"] == 2
    return plan["cells_to_train"]


ADDED = '    added={"inputs": "standardised"},\n'


def test_a_parameter_that_stands_for_what_was_redoes_nothing(tmp_path, store, grown_code):
    code = grown_code(ADDED, "standardised")
    assert to_train(code, write_spec(tmp_path), store) == 0
    before = answered(call("table", store, "--json"))
    assert asked(code, "table", store)["tables"][0]["rows"] == before
    assert asked(code, "table", store, "--where", "dataset.inputs=standardised")["tables"][0]["rows"] == before


def test_a_parameter_that_does_not_say_what_it_stood_for_redoes_all(tmp_path, store, grown_code):
    assert to_train(grown_code("", "standardised"), write_spec(tmp_path), store) == 2


def test_a_default_that_is_not_that_constant_is_another_cell_and_the_constant_is_still_the_old_one(
    tmp_path, store, grown_code
):
    code = grown_code(ADDED, "raw")
    assert to_train(code, write_spec(tmp_path), store) == 2
    block = {
        "dataset": {"digits": {"inputs": "standardised"}},
        "architecture": {"mlp": {"hidden": [8]}},
        "head": ["softmax", "softrmax"],
        "training": {"epochs": 2, "batch_size": 64},
    }
    assert to_train(code, write_spec(tmp_path, cells=[block]), store) == 0


def test_what_is_left_out_is_what_equals_its_constant_and_nothing_else():
    values = {"a": 1, "b": 1.0, "c": "raw", "d": None}
    assert grown(values, {"b": 1.0, "c": "raw"}) == {"a": 1, "d": None}
    assert grown(values, {"a": 1.0, "c": "other", "d": 0}) == values


def test_an_id_is_the_same_with_and_without_a_parameter_at_its_constant():
    old = Component("head", "h", 1, {"scale": 2.0})
    new = Component("head", "h", 1, {"scale": 2.0, "bias": True}, {"bias": True})
    other = Component("head", "h", 1, {"scale": 2.0, "bias": False}, {"bias": True})
    assert old.part_of_id == new.part_of_id != other.part_of_id
    assert json.loads(other.part_of_id)["parameters"] == {"scale": 2.0, "bias": False}


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def write(module, added):
        text = (
            f'@component("head", version=1, added={added})\ndef mine(*, scale: float = 3, kind: str = "a"):\n    ...\n'
        )
        Path(tmp_path, f"{module}.py").write_text(text)
        return f"{module}:mine"

    return write


def test_a_constant_is_spelt_as_its_type_spells_it_or_refused(tmp_path, foreign):
    assert added("head", foreign("spelt_by_type", {"scale": 2})) == {"scale": 2.0}
    name = foreign("of_another_type", {"scale": "two"})
    spec = write_spec(tmp_path, cells=[{"dataset": "digits", "architecture": "mlp", "head": name}])
    refused = call("check", spec)
    assert refused.exit_code == 2
    assert "of_another_type:mine: what is added of 'scale' must be a number, not 'two'" in refused.output


def test_a_rule_finds_a_parameter_that_is_left_out_of_what_is_stored(foreign):
    name = foreign("asked_by_rules", {"kind": "b"})
    stored = {"name": name, "version": 1, "parameters": {"scale": 3.0}}
    assert parameter_of("head", stored, "kind") == "b"
    assert parameter_of("head", stored, "scale") == 3.0
    assert parameter_of("head", stored, "none") is ABSENT
    assert parameter_of("head", {**stored, "name": "not_installed:mine"}, "kind") is ABSENT


def test_the_cell_that_a_variant_rests_on_is_the_default_cell_however_its_default_is_spelt(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    declared = "version=1, evaluation=('cap',), added={'cap': 1}"
    (tmp_path / "rests_on.py").write_text(f'@component("head", {declared})\ndef mine(*, cap: float = 1):\n    ...\n')
    head = ["rests_on:mine", {"rests_on:mine": {"cap": 2}}]
    spec = load_spec(
        write_spec(tmp_path, cells=[{"dataset": "digits", "architecture": "mlp", "head": head}], attacks=[])
    )
    usual, other = cells(spec)
    assert trained_as(usual) == usual
    assert trained_as(other).id == usual.id != other.id
