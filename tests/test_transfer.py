"""Whole grids whose cases wait for more than their own cell: transfers, prepared attacks, targets."""

import json
from collections import Counter

import pytest
from grids import SLOW, answered, call, launch, rows, write_spec

from grid.store.store import Store

STAMP = "grid_components:stamp"
HEADS = ["softmax", "softrmax"]


def spec(folder, attacks, **changes):
    return write_spec(folder, attacks=attacks, **changes)


def tasks_of(store):
    events = [
        json.loads(line) for run in (store / "runs").glob("*/events.jsonl") for line in run.read_text().splitlines()
    ]
    return [event["task"] for event in events if event["event"] == "done"]


def ask(store, text):
    return answered(call("sql", store, text, "--json"))


def test_a_transfer_waits_for_its_source_and_is_a_case_of_its_own(tmp_path):
    path = spec(tmp_path, [{"fgsm": {"eps": 0.1}}, {"fgsm": {"eps": 0.1, "source": {"head": ["cons"]}}}])
    store = tmp_path / "store"
    assert launch(path, store).exit_code == 0
    trained = ask(store, "select head, trained from cells order by head")
    assert trained == [{"head": head, "trained": True} for head in ("cons", "softmax", "softrmax")]
    found = ask(store, "select head, attack_label, source, samples_stored from cases order by all")
    assert found == [
        {"head": head, "attack_label": f"fgsm(eps=0.1{more})", "source": source, "samples_stored": 40}
        for head in HEADS
        for more, source in (("", None), (", source=cons", "cons"))
    ]


def test_a_matrix_of_sources_has_the_white_box_attack_on_its_diagonal(tmp_path):
    path = spec(tmp_path, [{"fgsm": {"eps": 0.1, "source": {"head": HEADS}}}])
    launch(path, tmp_path / "store")
    found = ask(tmp_path / "store", "select head, source from cases order by head, source nulls first")
    assert [(row["head"], row["source"]) for row in found] == [
        *(("softmax", None), ("softmax", "softrmax")),
        *(("softrmax", None), ("softrmax", "softmax")),
    ]


def test_what_an_attack_prepares_is_made_once_for_all_its_targets(tmp_path):
    path = spec(tmp_path, [{STAMP: {"eps": 0.2, "fit_samples": 100, "source": {"head": HEADS}}}])
    store = tmp_path / "store"
    result = launch(path, store)
    assert result.exit_code == 0
    assert len(list((store / "prepared").iterdir())) == 2
    facts = ask(store, "select head, source, fact, value from prepared where fact <> 'brightness' order by all")
    assert len(facts) == 4 * 3
    assert {(row["fact"], row["value"]) for row in facts} == {("samples", 100), ("forwards", 100), ("backwards", 100)}
    done = tasks_of(store)
    launch(path, store)
    assert tasks_of(store) == done
    assert len(rows(store)) == 160


def test_what_was_prepared_with_other_weights_is_prepared_again(tmp_path):
    path = spec(tmp_path, [{STAMP: {"eps": 0.2, "fit_samples": 100, "source": {"head": "cons"}}}])
    store = tmp_path / "store"
    launch(path, store)
    before = rows(store).to_pylist()
    (cons,) = [f for f in Store(str(store)).cells.all() if f["cell"]["head"]["name"] == "cons"]
    facts = store / "cells" / cons["cell_id"] / "cell.json"
    facts.write_text(facts.read_text().replace(cons["weights_sha256"], "0" * 64))
    weights = store / "cells" / cons["cell_id"] / "weights.safetensors"
    weights.unlink()
    made = json.loads(call("plan", path, "--store", store, "--json", "--shard-size", 10).stdout)
    assert (made["cells_to_train"], made["attacks_to_prepare"]) == (1, 0)
    assert launch(path, store).exit_code == 0
    assert rows(store).to_pylist() == before


def test_a_prepare_step_that_fails_is_said_of_every_case_that_waits_for_it(tmp_path):
    attacks = [{STAMP: {"eps": 0.2, "how": "raises", "source": {"head": "cons"}}}, {SLOW: {"eps": 0.1, "seconds": 0}}]
    result = launch(spec(tmp_path, attacks), tmp_path / "store")
    assert result.exit_code == 3
    assert "this prepare step always raises" in result.stderr
    found = ask(tmp_path / "store", "select head, task, case_id, resolved from failures order by head")
    assert [(row["head"], row["task"], row["resolved"]) for row in found] == [
        (head, "prepare", False) for head in HEADS
    ]
    assert len({row["case_id"] for row in found}) == 2
    assert len(rows(tmp_path / "store")) == 80


def test_a_source_that_cannot_be_trained_leaves_only_its_own_cases_missing(tmp_path):
    broken = {"architecture": "grid_components:cannot_be_trained"}
    result = launch(spec(tmp_path, [{"fgsm": {"eps": 0.1, "source": broken}}, "deepfool"]), tmp_path / "store")
    assert result.exit_code == 3
    found = ask(tmp_path / "store", "select attack, samples_stored from coverage order by all")
    assert [(row["attack"], row["samples_stored"]) for row in found] == [("deepfool", 40)] * 2 + [("fgsm", 0)] * 2


def test_samples_of_a_prepared_attack_beyond_the_split_are_refused_by_name(tmp_path):
    result = launch(spec(tmp_path, [{STAMP: {"eps": 0.2, "fit_samples": 100_000}}]), tmp_path / "store")
    assert result.exit_code == 3
    assert "digits: fit_samples is 100000, but its train split has" in result.stderr


@pytest.mark.parametrize("words", [(), ("--shard-size", 7), ("--shard-size", 1000)])
def test_a_targeted_case_is_resumed_by_its_samples_whatever_the_shard_size(tmp_path, words):
    attacks = [{"fgsm": {"eps": 0.1, "targets": "all"}}]
    short = spec(tmp_path, attacks, samples={"count": 13})
    launch(short, tmp_path / "store")
    whole = spec(tmp_path, attacks, samples={"count": 40})
    assert launch(whole, tmp_path / "store", *words).exit_code == 0
    assert launch(whole, tmp_path / "fresh").exit_code == 0
    text = "select case_id, sample, target, position, adv_pred, l2 from samples order by all"
    assert ask(tmp_path / "store", text) == ask(tmp_path / "fresh", text)
    counts = ask(tmp_path / "store", "select count(*) as n, count(distinct (sample, target)) as pairs, "
                 "max(position) as last from samples group by case_id")  # fmt: skip
    assert counts == [{"n": 360, "pairs": 360, "last": 39}] * 2
    call("tidy", tmp_path / "store")
    assert ask(tmp_path / "store", text) == ask(tmp_path / "fresh", text)
    assert all(len(list(case.iterdir())) == 1 for case in (tmp_path / "store/shards").iterdir())


@pytest.mark.parametrize("words", [("--shard-size", 7), ("--batch-size", 3)])
def test_a_cascade_is_resumed_and_cut_like_any_case(tmp_path, words):
    attacks = [{"cascade": True, "eps": 0.3, "name": "two", "attacks": [{SLOW: {"seconds": 0}}, "fgsm"]}]
    launch(spec(tmp_path, attacks, samples={"count": 13}), tmp_path / "store")
    whole = spec(tmp_path, attacks)
    assert launch(whole, tmp_path / "store", *words).exit_code == 0
    launch(whole, tmp_path / "fresh")
    text = "select case_id, sample, clean_correct, success, member, steps, adv_pred from samples order by all"
    found = ask(tmp_path / "store", text)
    assert found == ask(tmp_path / "fresh", text)
    assert {row["member"] for row in found} == {None, 1, 2}
    lines = answered(call("table", tmp_path / "store", "robust_accuracy", "--json"))
    accuracies = sorted(line["accuracy"] for line in lines if line["attack"] == "two")
    robust = Counter(row["case_id"] for row in found if row["clean_correct"] and not row["success"])
    assert accuracies == sorted(robust[case] / 40 for case in {row["case_id"] for row in found})
