"""`check` answers soon whatever it is given: what is too much is refused with its number, before it is worked on."""

import json
import os

import pytest
from grids import call, write_spec

from grid.plan.rule_index import BlockIndex
from grid.spec import layers
from grid.spec.nodes import Report
from grid.spec.read import MAX_CASES, load_spec, parse_document
from grid.spec.strict_yaml import MAX_VALUES, parse

SEEDS = list(range(1, 201))
MANY = [{"mlp": {"hidden": [width]}} for width in range(1, 201)]


def refused(path):
    done = call("check", path)
    assert (done.exit_code, done.stdout) == (2, "")
    return done.stderr


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    for path in (pipe, "/dev/zero", tmp_path):
        assert f"{path} is no regular file" in refused(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = write_spec(tmp_path)
    monkeypatch.setattr(layers, "MAX_BYTES", 20)
    size = path.stat().st_size
    assert f"{path} has {size} bytes; at most 20 are read" in refused(path)


def test_two_hundred_thousand_unknown_keys_are_one_problem(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("name: a\n" + "".join(f"key{i}: {i}\n" for i in range(200_000)))
    said = refused(path)
    assert "1 problem" in said
    assert f"line {MAX_VALUES // 2}: has more than {MAX_VALUES} values here, of 200002 lines in all" in said


def test_a_document_with_as_many_values_as_are_allowed_is_read():
    items = ", ".join("1" for _ in range(50))
    assert parse(f"[{items}]", "x", Report("x"), max_values=51)
    report = Report("x")
    assert parse(f"[{items}]", "x", report, max_values=50) is None
    assert "more than 50 values" in report.problems[0].message


def test_nine_million_cases_are_refused_with_their_number(tmp_path):
    steps = ", ".join(map(str, range(1, 3001)))
    path = tmp_path / "a.yaml"
    path.write_text(
        f"name: a\nsamples: {{count: 1}}\nseeds: [{', '.join(map(str, range(3000)))}]\n"
        "cells: [{dataset: digits, architecture: mlp}]\n"
        f"attacks: [{{pgd: {{eps: 0.1, steps: {{each: [{steps}]}}}}}}]\n"
    )
    assert f"the blocks come to 9000000 cases; at most {MAX_CASES} are planned at once" in refused(path)


def test_variants_are_counted_over_the_whole_spec_before_they_are_made(tmp_path):
    many = {"each": list(range(1, 1001))}
    attacks = [{"pgd": {"eps": 0.1, "steps": many, "restarts": {"each": list(range(1, 26))}}} for _ in range(2)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"name": "a", "cells": [{"dataset": "digits", "architecture": "mlp"}],
                                "attacks": attacks}))  # fmt: skip
    assert "25000 more variants than 25000 before, together more than 30000" in refused(path)


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ({"fgsm": {"eps": 0.1, "source": {"seed": SEEDS, "architecture": MANY}}}, "40000 more variants"),
        ({"pgd": {"eps": 0.1, "steps": {"each": list(range(1, 301))}, "source": {"seed": SEEDS}}}, "199 more"),
        (
            {"cascade": True, "eps": {"each": [n / 300 for n in range(1, 300)]}, "eot": {"each": list(range(1, 201))},
             "attacks": ["fgsm"]},
            "59800 more variants",
        ),
    ],
    ids=["the parts of a source", "an attack for each source", "a cascade"],
)  # fmt: skip
def test_whatever_multiplies_is_counted_before_it_is_made(tmp_path, attack, said):
    message = refused(write_spec(tmp_path, attacks=[attack]))
    assert said in message
    assert "together more than 30000" in message


def test_a_spec_that_a_store_has_is_read_whatever_its_size(tmp_path, monkeypatch):
    spec = load_spec(write_spec(tmp_path, exclude=[{"head": "softrmax", "attack": "fgsm"}]))
    for name in ("grid.spec.nodes.MAX_VARIANTS", "grid.spec.read.MAX_CASES", "grid.spec.read.MAX_RULES"):
        monkeypatch.setattr(name, 0)
    assert parse_document(spec.document, "a store") == spec


def test_a_rule_is_looked_up_as_often_however_many_cases_a_block_has(tmp_path, monkeypatch):
    looked_up = []
    matching = BlockIndex._matching
    monkeypatch.setattr(BlockIndex, "_matching", lambda *given: looked_up.append(given) or matching(*given))
    for seeds in (5, 500):
        spec = load_spec(write_spec(tmp_path, seeds=list(range(seeds)), exclude=[{"seed": [3, 4], "head": "softmax"}]))
        (chosen,) = spec.selection.blocks
        assert (len(chosen.excluded), sum(chosen.excluded)) == (4 * seeds, 4)
    assert len(looked_up) == 2 * 2


def test_files_that_extend_one_another_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "MAX_PARENTS", 1)
    for number in range(4):
        (tmp_path / f"{number}.yaml").write_text(f"extends: {number + 1}.yaml\n")
    assert "more than 1 files extend one another" in refused(tmp_path / "0.yaml")


def test_more_published_values_than_can_be_looked_up_are_refused_with_their_number(tmp_path, monkeypatch):
    path = write_spec(tmp_path, published="values.csv")
    row = "fgsm,softmax,clean_accuracy,0.5,Table 1\n"
    (tmp_path / "values.csv").write_text("attack,head,metric,value,source\n" + row * 12)
    assert call("check", path).exit_code == 0
    monkeypatch.setattr("grid.spec.rules.MAX_ROWS", 10)
    assert "has 12 rows; at most 10 are read" in refused(path)
    monkeypatch.undo()
    monkeypatch.setattr("grid.spec.read.MAX_RULES", 11)
    assert "12 rules and published values on 1 blocks are 12 to look up; at most 11 are" in refused(path)
