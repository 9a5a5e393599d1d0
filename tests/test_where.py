"""`--where`: its texts as rules, and a store narrowed to what a rule selects."""

import json
import shutil

import pytest
from grids import call, launch, write_spec

from grid.errors import SpecError, UsageError
from grid.results.contents import connect
from grid.results.query import is_complete, query, run_sql, status
from grid.spec.rules import parse_where
from grid.store.store import Store

CELL = {
    "dataset": "digits",
    "architecture": {"mlp": {"hidden": {"each": [[8], [4, 4]]}}},
    "head": ["softmax", "softrmax"],
    "training": {"epochs": 1},
}
ATTACKS = [
    {"fgsm": {"eps": {"each": ["8/255", 0.1]}}},
    {"pgd": {"eps": 0.1, "steps": {"each": [1, 2]}, "targets": {"each": [[1, 2]]}}},
    {"fgsm": {"eps": 0.1, "norm": "linf", "source": {"head": "softrmax"}}},
    {"cascade": True, "name": "both", "eps": 0.1, "attacks": ["fgsm", {"pgd": {"steps": 2}}]},
    "deepfool",
]
STUDY = {
    "samples": {"count": 4},
    "cells": [CELL | {"variant": "published"}, CELL | {"head": "softmax", "variant": "corrected"}],
    "attacks": ATTACKS,
    "probes": ["confidence"],
    "tables": ["robust_accuracy"],
    "published": [
        {"head": head, "attack": "deepfool", "metric": "success_rate", "value": 1, "source": "Table 1"}
        for head in ("softmax", "softrmax")
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("where")


@pytest.fixture(scope="module")
def store(folder):
    assert launch(write_spec(folder, **STUDY), folder / "store").exit_code == 0
    store = Store.existing(str(folder / "store"))
    with narrowed(store) as con:
        cases = rows_of(con, "select cell_id, case_id, head from cases where attack = 'deepfool'")
    for cell, case, head in cases:
        about = {"task_id": f"attack-{case}", "cell_id": cell, "case_id": None if head == "softmax" else case}
        store.failures.save(case, "2026-01-01T00:00:00", about | {"attempt": 1})
    return store


def narrowed(store, *texts):
    return connect(store, lambda path, reason: pytest.fail(f"{path}: {reason}"), parse_where(texts))


def rows_of(con, text):
    return [tuple(row.values()) for row in run_sql(con, text).to_pylist()]


# The texts


@pytest.mark.parametrize(
    ("texts", "allowed"),
    [
        ([], {}),
        (["head=softmax"], {"head": ("softmax",)}),
        (["head=softmax,eps=8/255,attack.steps=10"], {"head": ("softmax",), "eps": (8 / 255,), "attack.steps": (10,)}),
        (["head=softmax", "head=softrmax"], {"head": ("softmax", "softrmax")}),
        ([" head = [softmax, softrmax] , seed=[0,1]"], {"head": ("softmax", "softrmax"), "seed": (0, 1)}),
        (["eps=null,box=true,targets=[[1,2]]"], {"eps": (None,), "box": (True,), "targets": ([1, 2],)}),
        (["architecture.hidden=[8,4]"], {"architecture.hidden": (8, 4, [8, 4])}),
        (["source.head=cons,training.epochs=3"], {"source.head": ("cons",), "training.epochs": (3,)}),
        (["variant=''"], {"variant": ("",)}),
        (["attack=package.module:name"], {"attack": ("package.module:name",)}),
    ],
)  # fmt: skip
def test_a_text_is_a_rule(texts, allowed):
    assert parse_where(texts).allowed == allowed


def test_all_that_is_wrong_with_the_texts_is_said_at_once():
    with pytest.raises(SpecError) as caught:
        parse_where(["hed=softmax,seed=one", "head", "softmax=,=3", "box=1,eps=[0.1", "norm=l3"])
    assert str(caught.value).split("\n")[0] == "--where: 8 problems"
    for said in (
        "hed=softmax: unknown axis 'hed'. Did you mean 'head'? Known: activation, ",
        "seed=one: must be a whole number, not 'one'",
        "head: must be axis=value, and several values a list: head=[a, b]",
        "softmax=: must be axis=value",
        "=3: must be axis=value",
        "box=1: must be true or false, not 1",
        "eps=[0.1: must be axis=value",
        "norm=l3: must be one of 'l0', 'l1', 'l2', 'linf', not 'l3'",
    ):
        assert said in str(caught.value)


# The store


RULES = [
    ("head=softmax", {"head": "softmax"}),
    ("head=softrmax,attack=fgsm", {"head": "softrmax", "attack": "fgsm"}),
    ("architecture.hidden=[4,4]", {"architecture.hidden": [4, 4]}),
    ("attack=[fgsm, both]", {"attack": ["fgsm", "both"]}),
    ("attack.steps=2", {"attack.steps": 2}),
    ("eps=8/255", {"eps": "8/255"}),
    ("eps=null", {"eps": None}),
    ("norm=l2,norm=linf", {"norm": ["l2", "linf"]}),
    ("space=pixel,box=true", {"space": "pixel", "box": True}),
    ("targets=[[1,2]]", {"targets": [[1, 2]]}),
    ("targets=null", {"targets": None}),
    ("probe=confidence", {"probe": "confidence"}),
    ("training.epochs=1,attack=deepfool", {"training.epochs": 1, "attack": "deepfool"}),
    ("source.head=softrmax", {"source.head": "softrmax"}),
    ("source.head=softrmax,head=softmax", {"source.head": "softrmax", "head": "softmax"}),
    ("dataset=digits,seed=0,attack=both", {"dataset": "digits", "seed": 0, "attack": "both"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "rule"), RULES)
def test_the_same_cases_are_selected_that_an_exclusion_leaves_out(store, tmp_path, text, rule):
    document = STUDY | {"cells": [CELL], "published": []}
    every = json.loads(call("check", write_spec(tmp_path, **document), "--json").stdout)["cases"]
    left = json.loads(call("check", write_spec(tmp_path, **document, exclude=[rule]), "--json").stdout)["cases"]
    with narrowed(store, text) as con:
        assert rows_of(con, "select count(*) from cases") == [(every - left,)]
        assert 0 < left < every


def test_a_case_that_two_blocks_ask_for_is_selected_by_either_label(store):
    with narrowed(store) as con:
        [(every, softmax)] = rows_of(con, "select count(*), count(*) filter (head = 'softmax') from cases")
    with narrowed(store, "variant=corrected") as con:
        assert rows_of(con, "select count(*), min(variant) from cases") == [(softmax, "published, corrected")]
    with narrowed(store, "variant=published") as con:
        assert rows_of(con, "select count(*) from cases") == [(every,)]


VIEWS = ("cells", "history", "cases", "samples", "measures", "coverage", "wanted", "published", "failures")


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_but_runs_is_narrowed(store, view):
    with narrowed(store) as con:
        every = rows_of(con, f"from {view}")
        expected = rows_of(con, f"from {view} where cell_id in (select cell_id from cells where head = 'softmax')")
    with narrowed(store, "head=softmax") as con:
        found = rows_of(con, f"from {view}")
        assert rows_of(con, "select count(*) from runs") == [(1,)]
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert 0 < len(found) < len(every)


def test_a_table_of_a_narrowed_store_has_the_rows_that_it_had(store):
    with narrowed(store) as con:
        every = query(con, "robust_accuracy", "toy").to_pylist()
    with narrowed(store, "head=softmax,attack=fgsm") as con:
        found = query(con, "robust_accuracy", "toy").to_pylist()
    wanted = [row for row in every if row["head"] == "softmax" and row["attack"].partition("(")[0] in {"none", "fgsm"}]
    # A parameter in which the lines differ has a column: there are fewer of these where there are fewer lines.
    assert found == [{name: row[name] for name in found[0]} for row in wanted]


def test_a_transfer_keeps_its_source_where_that_is_not_selected(store):
    with narrowed(store, "head=softmax,attack=fgsm") as con:
        found = query(con, "transfer", "toy").to_pylist()
        assert {(row["source_head"], row["head"]) for row in found} == {("softrmax", "softmax"), ("softmax", "softmax")}
        assert rows_of(con, "select distinct head from cells") == [("softmax",)]


def test_completeness_is_that_of_what_is_selected(store, folder, tmp_path):
    copy = shutil.copytree(folder / "store", tmp_path / "store")
    with narrowed(store) as con:
        [(case,)] = rows_of(con, "select min(case_id) from cases where attack = 'deepfool'")
    shutil.rmtree(copy / "shards" / case)
    cut = Store.existing(str(copy))
    for text, missing in (("attack=fgsm", 0), ("attack=deepfool", 4)):
        with narrowed(cut, text) as con:
            assert sum(row["missing"] for row in status(con).to_pylist()) == missing
            assert is_complete(con) is not bool(missing)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("head=sofmax", r"^nothing here is selected: unknown head 'sofmax'. Did you mean 'softmax'\? Known: softmax,"),
        ("eps=0.3", "unknown eps '0.3'.*Known: 0.031"),
        ("attack=fgsm,eps=null", "each value is there, but no case has all of them"),
    ],
)  # fmt: skip
def test_a_rule_that_selects_nothing_is_refused_with_what_there_is(store, text, says):
    with pytest.raises(UsageError, match=says):
        narrowed(store, text)
