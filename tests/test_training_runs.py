"""Trainings in a grid: cut off and resumed, told while they run, one after another where a cell needs another."""

import json
from pathlib import Path

import pytest
from grids import answered, call, launch, write_spec
from safetensors.torch import load_file

from grid.store.unfinished import Trainings
from grid.work import training as training_work

TRAINING = {"epochs": 5, "batch_size": 64}


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


def spec_of(folder, cells=None, **changes):
    cell = {"dataset": "digits", "architecture": {"mlp": {"hidden": [8]}}, "training": TRAINING, **(cells or {})}
    return write_spec(folder, **{"cells": [cell], "attacks": [], "samples": {"count": 10}, **changes})


def contents(store: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((store / "cells").rglob("weights.safetensors"))]


def history(store, text="select * exclude (cell_id, seconds) from history order by cell_id, epoch"):
    return answered(call("sql", store, text, "--json"))


@pytest.fixture
def kept_always(monkeypatch):
    monkeypatch.setattr(training_work, "KEEP_SECONDS", 0.0)
    monkeypatch.setattr(training_work, "_KEEP_SHARE", 0)
    monkeypatch.setattr(training_work, "_TELL_SECONDS", 0.0)


def killed_after(monkeypatch, epoch):
    """A worker that is lost right after it has kept the state of an epoch."""
    kept = Trainings.keep

    def keep(self, cell_id, state, traced):
        kept(self, cell_id, state, traced)
        if self.told(cell_id)["epoch"] == epoch:
            raise Killed

    monkeypatch.setattr(Trainings, "keep", keep)


@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_a_training_whose_worker_was_lost_goes_on_and_comes_out_the_same(tmp_path, monkeypatch, kept_always, epoch):
    probes = [{"confidence": {"epochs": "each", "samples": 4}}]
    spec, whole, cut = spec_of(tmp_path, probes=probes), tmp_path / "whole", tmp_path / "cut"
    assert launch(spec, whole).exit_code == 0
    with monkeypatch.context() as patch:
        killed_after(patch, epoch)
        with pytest.raises(Killed):
            call_raising(spec, cut)
    assert answered(call("sql", cut, "select epoch, epochs from trainings", "--json")) == [
        {"epoch": epoch, "epochs": 5}
    ]
    assert f"epoch {epoch}/5" in call("status", cut).stdout
    assert launch(spec, cut).exit_code == 0
    assert contents(cut) == contents(whole)
    assert history(cut) == history(whole)
    assert [row["epoch"] for row in history(cut)] == [1, 2, 3, 4, 5]
    rows = "select epoch, sample, measure, value from measures order by all"
    assert history(cut, rows) == history(whole, rows)
    assert not list((cut / "training").iterdir())


def test_a_trace_of_fewer_samples_than_are_wanted_now_is_not_gone_on_with(tmp_path, monkeypatch, kept_always):
    spec, store = spec_of(tmp_path, probes=[{"confidence": {"epochs": "each", "samples": 4}}]), tmp_path / "store"
    with monkeypatch.context() as patch:
        killed_after(patch, 2)
        with pytest.raises(Killed):
            call_raising(spec, store)
    # The rows of two epochs of 4 samples and of three of 6 do not belong together, even where they could be joined.
    spec_of(tmp_path, probes=[{"confidence": {"epochs": "each", "samples": 6}}])
    assert launch(spec, store).exit_code == 0
    launch(spec, tmp_path / "fresh")
    rows = "select epoch, sample, measure, value from measures order by all"
    assert history(store, rows) == history(tmp_path / "fresh", rows)
    counted = "select count(distinct sample) samples, count(*) n from measures group by epoch"
    assert history(store, counted) == [{"samples": 6, "n": 36}] * 5


def call_raising(spec, store):
    result = launch(spec, store)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception


def test_a_state_that_is_torn_is_set_aside_and_the_training_begins_anew(tmp_path, monkeypatch, kept_always):
    spec, store = spec_of(tmp_path), tmp_path / "store"
    with monkeypatch.context() as patch:
        killed_after(patch, 2)
        with pytest.raises(Killed):
            call_raising(spec, store)
    (state,) = (store / "training").rglob("state.safetensors")
    state.write_bytes(state.read_bytes()[:-10])
    result = launch(spec, store)
    assert result.exit_code == 0
    assert "the state of an unfinished training cannot be read" in result.stderr
    launch(spec, tmp_path / "fresh")
    assert contents(store) == contents(tmp_path / "fresh")


def test_a_cell_that_is_evaluated_otherwise_shares_the_weights_and_not_the_predictions(tmp_path):
    capped = {"activation": {"srelu": {"cap": 1, "evaluation_cap": {"each": [1, 0.01]}}}}
    spec, store = spec_of(tmp_path, capped, attacks=[{"fgsm": {"eps": 0.1}}]), tmp_path / "store"
    result = launch(spec, store)
    assert result.exit_code == 0
    assert "done 3 cells, 2 shards" in result.stderr
    assert len(set(contents(store))) == 1
    found = history(store, "select test_accuracy from cells order by test_accuracy")
    assert found[0]["test_accuracy"] < found[1]["test_accuracy"] == found[2]["test_accuracy"]
    shown = answered(call("table", store, "robust_accuracy", "--json"))
    assert len(shown) == 4, "the cell that only the others need has no line"


def test_retraining_starts_where_natural_training_ended(tmp_path):
    block = {
        "defense": {"pgd_training": {"eps": 0.1}},
        "training": {**TRAINING, "epochs": 1, "lr": 1e-9, "natural_epochs": 4},
    }
    spec, store = spec_of(tmp_path, block), tmp_path / "store"
    assert launch(spec, store).exit_code == 0
    natural, retrained = sorted(
        (json.loads(path.read_text())["cell"]["defense"]["name"], path.parent) for path in store.rglob("cell.json")
    )
    assert (natural[0], retrained[0]) == ("natural", "pgd_training")
    one, other = (load_file(path / "weights.safetensors") for _, path in (natural, retrained))
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-5
    assert len(history(store)) == 4 + 1


def test_a_student_is_trained_after_its_teacher(tmp_path):
    spec, store = spec_of(tmp_path, {"defense": {"distillation": {"temperature": 5}}}), tmp_path / "store"
    result = launch(spec, store)
    assert result.exit_code == 0
    assert "done 2 cells" in result.stderr
    assert len(set(contents(store))) == 2


def test_a_cell_whose_base_cannot_be_trained_is_skipped_and_named(tmp_path):
    block = {
        "defense": {"pgd_training": {"eps": 0.1}},
        "training": {**TRAINING, "lr": 1e30, "optimizer": "sgd", "natural_epochs": 1},
    }
    spec, store = spec_of(tmp_path, block, attacks=[{"fgsm": {"eps": 0.1}}]), tmp_path / "store"
    result = launch(spec, store)
    assert result.exit_code == 3
    assert "failed 1; skipped 1" in result.stderr
    assert "the training loss is" in result.stderr
