"""Whole grids, run in this process: launching, resuming, extending, failing."""

import json

import grid_components
import pytest
from grids import SLOW, answered, call, command, launch, rows, write_spec

from grid.store import files


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


@pytest.fixture
def spec(tmp_path):
    return write_spec(tmp_path)


@pytest.fixture
def undisturbed(tmp_path, spec):
    assert launch(spec, tmp_path / "undisturbed").exit_code == 0
    return rows(tmp_path / "undisturbed")


def plan(spec, store):
    return json.loads(call("plan", spec, "--store", store, "--json", "--shard-size", 10).stdout)


def test_a_grid_runs_from_nothing_to_rows(tmp_path, spec):
    store = tmp_path / "store"
    assert plan(spec, store)["shards_to_run"] == 16
    assert not store.exists()
    result = launch(spec, store)
    assert result.exit_code == 0
    assert "toy: complete: done 2 cells, 16 shards, 160 samples; failed 0; skipped 0" in result.stderr
    made = plan(spec, store)
    assert {k: made[k] for k in ("cells", "cases", "cells_to_train", "samples_wanted", "samples_stored")} == {
        "cells": 2, "cases": 4, "cells_to_train": 0, "samples_wanted": 160, "samples_stored": 160,
    }  # fmt: skip
    assert made["shards_to_run"] == 0
    assert len(rows(store)) == 160


def test_the_same_command_again_does_nothing(tmp_path, spec):
    launch(spec, tmp_path / "store")
    before = sorted(p for p in (tmp_path / "store/shards").rglob("*"))
    result = launch(spec, tmp_path / "store")
    assert result.exit_code == 0
    assert "nothing was missing, 0 samples" in result.stderr
    assert sorted(p for p in (tmp_path / "store/shards").rglob("*")) == before


@pytest.mark.parametrize("words", [("--shard-size", 7), ("--batch-size", 3), ("--shard-size", 1000)])
def test_another_shard_or_batch_size_redoes_nothing(tmp_path, spec, words):
    launch(spec, tmp_path / "store")
    assert "nothing was missing" in launch(spec, tmp_path / "store", *words).stderr


def test_more_samples_another_eps_and_another_seed_run_only_the_new_part(tmp_path):
    store = tmp_path / "store"
    launch(write_spec(tmp_path), store)
    more = write_spec(tmp_path, samples={"count": 60})
    assert plan(more, store)["shards_to_run"] == 2 * 4
    assert plan(more, store)["samples_stored"] == 160
    launch(more, store)
    wider = [{"fgsm": {"eps": {"each": ["8/255", 0.2]}}}, {SLOW: {"eps": 0.1, "seconds": 0.0}}]
    wider = write_spec(tmp_path, samples={"count": 60}, attacks=wider, seeds=[0, 1])
    made = plan(wider, store)
    assert (made["cells_to_train"], made["samples_stored"]) == (2, 240)
    assert made["samples_wanted"] - made["samples_stored"] == 2 * 60 + 2 * 3 * 60
    assert launch(wider, store).exit_code == 0


def test_an_edited_spec_moves_the_tables_and_deletes_nothing(tmp_path):
    store = tmp_path / "store"
    launch(write_spec(tmp_path), store)
    before = len(rows(store))
    launch(write_spec(tmp_path, attacks=[{"fgsm": {"eps": 0.3}}]), store)
    assert len(rows(store)) == before + 80
    table = answered(call("table", store, "robust_accuracy", "--json"))
    assert {(row["attack"], row["eps"]) for row in table if row["eps"]} == {("fgsm", 0.3)}
    assert "nothing was missing" in launch(write_spec(tmp_path), store).stderr


def test_resume_needs_no_spec(tmp_path, spec):
    store = tmp_path / "store"
    launch(spec, store, "--set", "samples.count=20")
    (store / "shards").rename(store / "shards.aside")
    spec.unlink()
    result = call("resume", store, "--address", "inline", "--cpus", 1, "--json")
    assert result.exit_code == 0
    (facts,) = json.loads(result.stdout)["grids"]
    assert (facts["name"], facts["outcome"], facts["samples"]) == ("toy", "complete", 80)
    assert len(rows(store)) == 80


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_commit_and_launched_again_the_rows_are_the_same(
    tmp_path, spec, undisturbed, monkeypatch, moment
):
    real = (files._commit_local, files._commit_local_folder)
    for nth in range(1, 40, 3):
        store = tmp_path / f"killed-{nth}"
        count = 0

        def commit(function, *args, nth=nth, **options):
            nonlocal count
            count += 1
            if count == nth and moment == "before":
                raise Killed
            done = function(*args, **options)
            if count == nth:
                raise Killed
            return done

        monkeypatch.setattr(files, "_commit_local", lambda *a, **o: commit(real[0], *a, **o))
        monkeypatch.setattr(files, "_commit_local_folder", lambda *a, **o: commit(real[1], *a, **o))
        try:
            finished = launch(spec, store).exit_code == 0
        except Killed:
            finished = False
        monkeypatch.undo()
        assert launch(spec, store).exit_code == 0
        assert rows(store).equals(undisturbed), nth
        if finished:
            assert nth > 16
            return
    pytest.fail("no launch was ever left to finish: the test kills too early")


def test_other_shards_and_batches_draw_the_same_and_here_even_round_the_same(tmp_path, spec, undisturbed):
    for number, words in enumerate([("--shard-size", 40), ("--shard-size", 7), ("--batch-size", 1)]):
        assert launch(spec, tmp_path / f"other-{number}", *words).exit_code == 0
        found = rows(tmp_path / f"other-{number}")
        exact = ["case_id", "sample", "label", "clean_pred", "adv_pred", "success", "steps", "l0"]
        assert found.select(exact).equals(undisturbed.select(exact))


def test_a_padded_model_pass_makes_rows_of_any_batch_size_equal_to_the_bit(tmp_path, spec):
    launch(spec, tmp_path / "a", "--fixed-batch", 8, "--batch-size", 40, "--shard-size", 40)
    launch(spec, tmp_path / "b", "--fixed-batch", 8, "--batch-size", 3, "--shard-size", 7)
    assert rows(tmp_path / "a").equals(rows(tmp_path / "b"))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raises", "RuntimeError: this attack always raises"),
        ("nan", "AttackError: grid_components:misbehaving returned values that are not finite for sample"),
        ("shape", "1, 7, 8) torch.float32 on cpu instead of ("),
        ("box", "AttackError: grid_components:misbehaving on sample"),
        ("budget", "over its budget eps = 0.1: linf is"),
    ],
)
def test_an_attack_that_breaks_its_contract_fails_its_shards_and_nothing_else(tmp_path, how, message):
    spec = write_spec(
        tmp_path,
        cells=[{"dataset": "digits", "architecture": {"mlp": {"hidden": [32]}}, "training": {"epochs": 15}}],
        attacks=[{"fgsm": {"eps": 0.1}}, {"grid_components:misbehaving": {"eps": 0.1, "how": how}}],
    )
    result = launch(spec, tmp_path / "store")
    assert result.exit_code == 3
    assert message in result.stderr
    assert "done 1 cells, 4 shards, 40 samples; failed 4; skipped 0" in result.stderr
    assert "Traceback" not in result.stderr
    failures = answered(call("sql", tmp_path / "store", "select * from failures", "--json"))
    assert len(failures) == 4
    assert all("Traceback" in failure["traceback"] for failure in failures)
    table = answered(call("table", tmp_path / "store", "robust_accuracy", "--json"))
    (missing,) = [row for row in table if "misbehaving" in row["attack"]]
    assert missing["accuracy"] is None
    assert missing["n"] == 0
    assert len(rows(tmp_path / "store")) == 40


def test_a_failed_shard_is_tried_again_by_the_same_command(tmp_path, monkeypatch):
    spec = write_spec(tmp_path, attacks=[{SLOW: {"eps": 0.1, "seconds": 0.0}}])
    real = grid_components.slow
    monkeypatch.setattr(grid_components, "slow", _raise)
    assert launch(spec, tmp_path / "store").exit_code == 3
    monkeypatch.setattr(grid_components, "slow", real)
    assert launch(spec, tmp_path / "store").exit_code == 0
    assert len(rows(tmp_path / "store")) == 80
    question = "select count(*) n from failures where not resolved"
    open_failures = answered(call("sql", tmp_path / "store", question, "--json"))
    assert open_failures == [{"n": 0}]


def _raise(*args, **parameters):
    raise OSError("a passing fault")


def test_a_cell_that_cannot_be_trained_is_recorded_and_the_others_are_finished(tmp_path):
    toys = ["grid_components:cannot_be_trained", "grid_components:nan_when_evaluated", {"mlp": {"hidden": [8]}}]
    spec = write_spec(
        tmp_path, cells=[{"dataset": "digits", "architecture": toys, "training": {"epochs": 1}}],
        attacks=[{"fgsm": {"eps": 0.1}}],
    )  # fmt: skip
    result = launch(spec, tmp_path / "store")
    assert result.exit_code == 3
    assert "ValueError: this architecture cannot be trained" in result.stderr
    assert "ModelError: " in result.stderr
    assert "not all finite" in result.stderr
    assert "done 1 cells, 4 shards, 40 samples; failed 2; skipped 8" in result.stderr


def test_data_that_is_missing_is_said_once_with_what_to_put_where(tmp_path):
    cells = [{"dataset": "mnist", "architecture": "cnn_4conv", "head": ["softmax", "softrmax"]}]
    spec = write_spec(tmp_path, cells=cells)
    result = launch(spec, tmp_path / "store", "--data-root", tmp_path / "data")
    assert result.exit_code == 2
    assert result.stderr.count(str(tmp_path / "data")) == 1
    assert "--download" in result.stderr
    assert "failed" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_torn_shard_is_set_aside_and_done_again(tmp_path, spec, undisturbed):
    store = tmp_path / "store"
    launch(spec, store)
    torn = min((store / "shards").rglob("*.parquet"))
    torn.write_bytes(torn.read_bytes()[:-9])
    table = call("table", store, "robust_accuracy", "--json")
    assert table.exit_code == 4
    assert f"{torn}: torn, or no Parquet file" in table.stderr
    assert not all(row["complete"] for row in answered(table))
    assert plan(spec, store)["shards_to_run"] == 1
    result = launch(spec, store)
    assert result.exit_code == 0
    assert f"{torn}: torn, or no Parquet file; set aside" in result.stderr
    assert rows(store).equals(undisturbed)


def test_weights_that_are_torn_are_trained_again_and_the_rows_stay_what_they_were(tmp_path, spec, undisturbed):
    store = tmp_path / "store"
    launch(spec, store)
    weights = min((store / "cells").rglob("weights.safetensors"))
    weights.write_bytes(b"torn")
    result = launch(spec, store)
    assert result.exit_code == 0
    assert "done 1 cells, 0 shards" in result.stderr
    assert rows(store).equals(undisturbed)


@pytest.mark.parametrize("file", ["grids/toy/wanted.parquet", "cells/*/cell.json"])
def test_a_torn_record_is_named_and_the_next_launch_puts_it_right(tmp_path, spec, undisturbed, file):
    store = tmp_path / "store"
    launch(spec, store)
    torn = min(store.glob(file))
    torn.write_bytes(torn.read_bytes()[:20])
    table = call("table", store)
    assert table.exit_code == 4
    assert str(torn) in table.stderr
    assert "Traceback" not in table.stderr
    assert launch(spec, store).exit_code == 0
    assert call("table", store).exit_code == 0
    assert rows(store).equals(undisturbed)


def test_results_of_other_weights_are_never_mixed_with_those_of_the_present_ones(tmp_path, spec):
    launch(spec, tmp_path / "store")
    launch(write_spec(tmp_path, name="other", seeds=[7]), tmp_path / "other")
    mine, others = (min((tmp_path / s / "cells").glob("*/")) for s in ("store", "other"))
    facts = json.loads((mine / "cell.json").read_text())
    theirs = json.loads((others / "cell.json").read_text())
    (mine / "weights.safetensors").write_bytes((others / "weights.safetensors").read_bytes())
    kept = {k: theirs[k] for k in ("weights_sha256", "weights_bytes")}
    (mine / "cell.json").write_text(json.dumps({**facts, **kept}))
    result = call("status", tmp_path / "store")
    assert result.exit_code == 3
    assert result.stderr.count("made with other weights than its cell has now") == 8
    again = launch(spec, tmp_path / "store")
    assert "done 0 cells, 8 shards, 80 samples" in again.stderr
    assert call("status", tmp_path / "store").exit_code == 0


def test_a_finished_case_of_many_shards_is_merged_into_one_file(tmp_path, spec, undisturbed):
    store = tmp_path / "store"
    launch(spec, store, "--shard-size", 2)
    assert [len(list(case.iterdir())) for case in (store / "shards").iterdir()] == [1, 1, 1, 1]
    exact = ["case_id", "sample", "adv_pred", "success", "steps"]
    assert rows(store).select(exact).equals(undisturbed.select(exact))


def test_two_launches_at_the_same_time_count_nothing_twice(tmp_path, spec, undisturbed):
    words = ("launch", spec, "--store", tmp_path / "store", "--address", "inline", "--cpus", 1, "--shard-size", 2)
    both = [command(*words) for _ in range(2)]
    for run in both:
        _, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
    exact = ["case_id", "sample", "adv_pred", "success", "steps"]
    assert rows(tmp_path / "store").select(exact).equals(undisturbed.select(exact))
    counted = answered(call("sql", tmp_path / "store", "select count(*) n from samples", "--json"))
    assert counted == [{"n": 160}]


def test_two_grids_in_a_store_share_their_training_and_their_shards(tmp_path, spec):
    launch(spec, tmp_path / "store")
    result = launch(write_spec(tmp_path, name="second", samples={"count": 20}), tmp_path / "store")
    assert "nothing was missing" in result.stderr
    counted = answered(call("sql", tmp_path / "store", "select count(*) n from samples", "--json"))
    assert counted == [{"n": 160}]
