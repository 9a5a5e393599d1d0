"""The questions to a store, on stores small enough to work out every number by hand."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from grid.errors import StoreError, UsageError
from grid.questions import TABLES, VIEWS
from grid.results.query import history_seconds, query, run_sql
from grid.results.views import CELLS, FAILURES, RUNS, Contents, Slice, connect
from tasks.schema import PUBLISHED, SAMPLES, WANTED


def sample_row(case, sample, correct=True, success=False, **more):
    row = {"case_id": case, "sample": sample, "target": None, "label": 1, "clean_pred": 1 if correct else 2}
    row |= {"adv_pred": 2, "clean_correct": correct, "attacked": correct, "success": success}
    row |= {"clean_confidence": 0.9, "clean_margin": 1.0, "seconds": 0.5 if correct else None, "seed": 0}
    row |= {"host": "here", "device": "cpu", "worker": "1", "versions": "{}", "run_id": "r"}
    return row | more


def wanted_row(cell, case, attack="fgsm", samples=4, **more):
    row = {"cell_id": cell, "case_id": case, "dataset": "digits", "architecture": "mlp", "activation": "relu"}
    row |= {"architecture_label": "mlp", "activation_label": "relu", "defense_label": "natural"}
    row |= {"head": "softmax", "defense": "natural", "seed": 0, "variant": "", "cell_label": cell, "cell_json": "{}"}
    if case:
        row |= {"attack": attack, "attack_label": attack, "norm": "linf", "eps": 0.1, "eps_label": "0.1"}
        row |= {"space": "pixel", "box": True, "attack_json": "{}"}
    return row | {"asked": True, "samples_wanted": samples if case else 0} | more


def written(path, rows, schema):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return str(path)


def cell_record(cell, architecture="mlp", seconds=2.0):
    parts = ("dataset", "activation", "head", "defense")
    names = {part: {"name": part[0]} for part in parts} | {"architecture": {"name": architecture}, "seed": 3}
    return {"cell_id": cell, "cell": json.dumps(names), "test_accuracy": 0.9, "seconds": seconds}


def failure(task, cell, case=None, start=None, stop=None, attempt=1):
    record = {"task_id": f"{case or cell}-{start}", "task": task, "cell_id": cell, "case_id": case, "start": start}
    return record | {"stop": stop, "kind": "error", "error": "ValueError", "attempt": attempt, "time": "2026-01-01"}


@pytest.fixture
def store(tmp_path):
    """Grid `one`: k1 complete from overlapping files, k2 half done, k3 empty, k4 grown, c3 without attacks.

    Grid `two` shares k1 and wants two of its samples. Position p holds sample 10 + p.
    """
    one = [
        wanted_row("c1", "k1"),
        wanted_row("c1", "k2", "deepfool", norm="l2", eps=None, eps_label=None),
        wanted_row("c2", "k3", head="softrmax"),
        wanted_row("c1", "k4", "pgd", samples=2),
        wanted_row("c3", None, head="sigmoid"),
    ]
    k1 = [
        sample_row("k1", 10, success=True, linf=0.1),
        sample_row("k1", 11),
        sample_row("k1", 12, correct=False),
        sample_row("k1", 13),
    ]
    contradicting = sample_row("k1", 12, success=True)
    k2 = [
        sample_row("k2", 10, success=True, l2=1.0, linf=0.5, steps=2),
        sample_row("k2", 11, success=True, l2=3.0, linf=0.5, steps=5),
    ]
    k4 = [sample_row("k4", 10), sample_row("k4", 11), *(sample_row("k4", s, success=True) for s in (12, 13))]
    shards = tmp_path / "shards"
    slices = [
        Slice("k1", written(shards / "k1" / "0-3.parquet", k1[:3], SAMPLES), 0, 0, 3),
        Slice("k1", written(shards / "k1" / "2-4.parquet", [contradicting, k1[3]], SAMPLES), 2, 1, 1),
        Slice("k2", written(shards / "k2" / "0-2.parquet", k2, SAMPLES), 0, 0, 2),
        Slice("k4", written(shards / "k4" / "0-4.parquet", k4, SAMPLES), 0, 0, 4),
    ]
    failures = [
        failure("train", "c1"),
        failure("train", "c2"),
        failure("attack", "c1", "k1", 0, 4),
        failure("attack", "c1", "k2", 0, 2),
        failure("attack", "c1", "k2", 0, 4),
        failure("attack", "c2", "k3", 0, 4),
        failure("prepare", "c1", "k2"),
        failure("prepare", "c2", "k3"),
    ]
    return Contents(
        wanted=[
            ("one", written(tmp_path / "one.parquet", one, WANTED)),
            ("two", written(tmp_path / "two.parquet", [wanted_row("c1", "k1", samples=2, variant="again")], WANTED)),
        ],
        slices=slices,
        cells=pa.Table.from_pylist([cell_record("c1"), cell_record("c9", "resnet", 8.0)], schema=CELLS),
        failures=pa.Table.from_pylist(failures, schema=FAILURES),
        runs=pa.Table.from_pylist([{"run_id": "r", "grid": "one", "commit": "abc", "done": 3}], schema=RUNS),
    )


def rows_of(con, text):
    return [tuple(row.values()) for row in run_sql(con, text).to_pylist()]


def answer(con, name, grid, *columns):
    return [tuple(row[column] for column in columns) for row in query(con, name, grid).to_pylist()]


# The views


@pytest.mark.parametrize("view", VIEWS)
def test_an_empty_store_has_every_view_typed_and_without_rows(view):
    with connect(Contents()) as con:
        found = run_sql(con, f"from {view}")
        assert found.num_rows == 0
        assert found.num_columns > 5
        assert not any(pa.types.is_null(kind) for kind in found.schema.types)


def test_the_views_are_those_that_a_user_is_told_of():
    with connect(Contents()) as con:
        assert sorted(name for (name,) in rows_of(con, "show tables")) == sorted(VIEWS)


def test_every_column_works_unquoted(store):
    with connect(store) as con:
        for view in VIEWS:
            names = run_sql(con, f"from {view}").column_names
            assert run_sql(con, f"select {', '.join(names)} from {view}").column_names == names


def test_no_sample_stands_twice_where_files_overlap(store):
    with connect(store) as con:
        found = rows_of(con, "select position, sample, success from samples where case_id = 'k1' order by position")
        assert found == [(0, 10, True), (1, 11, False), (2, 12, False), (3, 13, False)]


def test_a_file_may_count_in_two_parts(tmp_path):
    rows = [sample_row("k", sample) for sample in range(6)]
    path = written(tmp_path / "5-11.parquet", rows, SAMPLES)
    wanted = written(tmp_path / "wanted.parquet", [wanted_row("c", "k", samples=20)], WANTED)
    parts = [Slice("k", path, 5, 0, 2), Slice("k", path, 5, 4, 2)]
    with connect(Contents(wanted=[("g", wanted)], slices=parts)) as con:
        assert rows_of(con, "select position, sample from samples order by 1") == [(5, 0), (6, 1), (9, 4), (10, 5)]
        assert rows_of(con, "select samples_stored from cases") == [(4,)]


def test_samples_carry_the_axes_of_their_case(store):
    with connect(store) as con:
        found = rows_of(
            con, "select distinct dataset, head, attack, norm, eps, variant from samples where case_id='k1'"
        )
        assert found == [("digits", "softmax", "fgsm", "linf", 0.1, "again")]


def test_samples_of_a_case_that_no_grid_wants_are_left_out(store, tmp_path):
    path = written(tmp_path / "0-1.parquet", [sample_row("old", 1)], SAMPLES)
    more = Contents(wanted=store.wanted, slices=[*store.slices, Slice("old", path, 0, 0, 1)])
    with connect(more) as con:
        assert rows_of(con, "select count(*) from samples where case_id = 'old'") == [(0,)]
        assert rows_of(con, "select count(*) from samples") == [(10,)]


def test_coverage_counts_wanted_positions_and_open_failures_per_grid(store):
    with connect(store) as con:
        found = rows_of(
            con,
            "select grid, case_id, samples_wanted, samples_stored, complete, failures from coverage order by all",
        )
        assert found == [
            ("one", "k1", 4, 4, True, 0),
            ("one", "k2", 4, 2, False, 1),
            ("one", "k3", 4, 0, False, 3),
            ("one", "k4", 2, 2, True, 0),
            ("two", "k1", 2, 2, True, 0),
        ]


def test_a_case_of_two_grids_is_one_case_with_the_larger_count_and_both_variants(store):
    with connect(store) as con:
        found = rows_of(con, "select case_id, variant, samples_wanted, samples_stored from cases order by case_id")
        assert found == [("k1", "again", 4, 4), ("k2", "", 4, 2), ("k3", "", 4, 0), ("k4", "", 2, 4)]


def test_a_failure_is_resolved_once_its_work_is_done(store):
    with connect(store) as con:
        found = rows_of(con, "select task, cell_id, case_id, stop, resolved from failures order by all")
        assert found == [
            ("attack", "c1", "k1", 4, True),
            ("attack", "c1", "k2", 2, True),
            ("attack", "c1", "k2", 4, False),
            ("attack", "c2", "k3", 4, False),
            ("prepare", "c1", "k2", None, True),
            ("prepare", "c2", "k3", None, False),
            ("train", "c1", None, None, True),
            ("train", "c2", None, None, False),
        ]


def test_cells_are_the_wanted_and_the_trained_ones(store):
    with connect(store) as con:
        found = rows_of(
            con, "select cell_id, architecture, seed, cell_label, trained, seconds from cells order by cell_id"
        )
        assert found == [
            ("c1", "mlp", 0, "c1", True, 2.0),
            ("c2", "mlp", 0, "c2", False, None),
            ("c3", "mlp", 0, "c3", False, None),
            ("c9", "resnet", 3, None, True, 8.0),
        ]


def test_files_of_older_and_newer_columns_stand_together(tmp_path):
    table = pa.Table.from_pylist([sample_row("k", 1)], schema=SAMPLES)
    pq.write_table(table.drop_columns(["gpu", "mse"]), tmp_path / "old.parquet")
    pq.write_table(table.append_column("novelty", pa.array([7])), tmp_path / "new.parquet")
    wanted = written(tmp_path / "wanted.parquet", [wanted_row("c", "k")], WANTED)
    slices = [Slice("k", str(tmp_path / f"{age}.parquet"), start, 0, 1) for start, age in enumerate(["old", "new"])]
    for some, novelty in ((slices, [(None,), (7,)]), (slices[1:], [(7,)])):
        with connect(Contents(wanted=[("g", wanted)], slices=some)) as con:
            assert rows_of(con, "select novelty from samples order by position") == novelty
    with connect(Contents(wanted=[("g", wanted)], slices=slices[:1])) as con:
        assert rows_of(con, "select gpu, mse, sample from samples") == [(None, None, 1)]


def test_a_path_is_no_pattern_and_may_hold_quotes(tmp_path):
    odd = tmp_path / "a[b]*'c?"
    wanted = written(odd / "wanted.parquet", [wanted_row("c", "k")], WANTED)
    path = written(odd / "0-1.parquet", [sample_row("k", 1)], SAMPLES)
    with connect(Contents(wanted=[("g", wanted)], slices=[Slice("k", path, 0, 0, 1)])) as con:
        assert rows_of(con, "select sample from samples") == [(1,)]


def test_a_torn_file_is_a_problem_of_the_store(tmp_path):
    torn = tmp_path / "wanted.parquet"
    torn.write_bytes(b"PAR1 and no more")
    with pytest.raises(StoreError, match=r"wanted\.parquet"):
        connect(Contents(wanted=[("g", str(torn))]))


# The tables


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_those_of_newcombe_1998_table_i(successes, count, low, high):
    with connect(Contents()) as con:
        [bounds] = rows_of(con, f"select wilson_low({successes}, {count}), wilson_high({successes}, {count})")
        assert bounds == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_a_wilson_interval_stays_within_0_and_1_and_is_null_of_nothing():
    with connect(Contents()) as con:
        [(none, zero, one)] = rows_of(con, "select wilson_low(0, 0), wilson_low(0, 7), wilson_high(7, 7)")
        assert none is None
        assert zero == 0
        assert one == pytest.approx(1, abs=1e-12)
        assert one <= 1


def test_robust_accuracy_counts_all_samples_and_shows_what_is_missing(store):
    columns = ("head", "attack", "eps_label", "accuracy", "n", "samples_stored", "samples_wanted", "complete")
    with connect(store) as con:
        assert answer(con, "robust_accuracy", "one", *columns) == [
            ("sigmoid", "none", None, None, 0, 0, 0, False),
            ("softmax", "none", None, 0.75, 4, 4, 4, True),
            ("softmax", "deepfool", None, 0.0, 2, 2, 4, False),
            ("softmax", "fgsm", "0.1", 0.5, 4, 4, 4, True),
            ("softmax", "pgd", "0.1", 1.0, 2, 2, 2, True),
            ("softrmax", "none", None, None, 0, 0, 4, False),
            ("softrmax", "fgsm", "0.1", None, 0, 0, 4, False),
        ]


def test_robust_accuracy_names_an_eps_once_and_orders_it_by_size(tmp_path):
    asked = [("16/255", 16 / 255, ""), ("8/255", 8 / 255, "b"), ("0.1", 0.1, ""), ("1e-05", 1e-5, "")]
    rows = [
        *(
            wanted_row("c", f"f{i}", eps=eps, eps_label=label, variant=variant, attack_label=f"fgsm(eps={label})")
            for i, (label, eps, variant) in enumerate(asked)
        ),
        wanted_row("c", "b", "bim", attack_label="bim(eps=0.1, box=false)"),
        # Without a spelling of its own, an eps reads as its number.
        wanted_row("c", "p", "pgd", eps=1e-5, eps_label=None, attack_label="pgd(eps=1e-05, steps=7)"),
        wanted_row("c", "d", attack_label="deepfool(steps=5)", **FREE),
    ]
    wanted = written(tmp_path / "wanted.parquet", rows, WANTED)
    with connect(Contents(wanted=[("g", wanted)])) as con:
        found = query(con, "robust_accuracy", "g").to_pylist()
        assert [row["eps"] for row in found] == [None, 0.1, None, 1e-5, 8 / 255, 16 / 255, 0.1, 1e-5]
        assert [(row["attack"], row["eps_label"]) for row in found] == [
            ("none", None),
            ("bim(box=false)", "0.1"),
            ("deepfool(steps=5)", None),
            ("fgsm", "1e-05"),
            ("fgsm", "8/255"),
            ("fgsm", "16/255"),
            ("fgsm", "0.1"),
            ("pgd(steps=7)", "1e-05"),
        ]


def test_a_grid_that_wants_less_is_answered_from_its_own_share(store):
    with connect(store) as con:
        found = answer(con, "robust_accuracy", "two", "attack", "accuracy", "n", "variant")
        assert found == [("none", 1.0, 2, "again"), ("fgsm", 0.5, 2, "again")]


def test_robust_accuracy_has_a_wilson_interval(store):
    with connect(store) as con:
        found = answer(con, "robust_accuracy", "one", "accuracy_low", "accuracy_high")
        # 2 of 4, by hand: (2 + z²/2 ± z·sqrt(1 + z²/4)) / (4 + z²)
        assert found[3] == (pytest.approx(0.150039, abs=1e-6), pytest.approx(0.849961, abs=1e-6))
        assert found[6] == (None, None)


def test_a_sample_under_several_targets_is_one_sample(tmp_path):
    rows = [sample_row("k", 1, target=2), sample_row("k", 1, target=3, success=True), sample_row("k", 2, target=2)]
    wanted = written(tmp_path / "wanted.parquet", [wanted_row("c", "k", samples=3)], WANTED)
    path = written(tmp_path / "0-3.parquet", rows, SAMPLES)
    with connect(Contents(wanted=[("g", wanted)], slices=[Slice("k", path, 0, 0, 3)])) as con:
        assert answer(con, "robust_accuracy", "g", "attack", "accuracy", "n") == [("none", 1.0, 2), ("fgsm", 0.5, 2)]


def test_cells_with_the_same_axes_are_told_apart_by_their_labels(tmp_path):
    rows = [wanted_row("wide", "k1"), wanted_row("deep", "k2"), wanted_row("other", "k3", head="softrmax")]
    wanted = written(tmp_path / "wanted.parquet", rows, WANTED)
    with connect(Contents(wanted=[("g", wanted)])) as con:
        for name in ("robust_accuracy", "worst_case"):
            assert {row[0] for row in answer(con, name, "g", "cell")} == {"wide", "deep", None}


MEASURES = {"l0": 30.0, "l1": 6.0, "l2": 1.0, "linf": 0.5, "relative l2": 0.25, "mse": 0.125, "steps": 10.0}
FREE = {"attack": "deepfool", "norm": "l2", "eps": None, "eps_label": None}


def test_minimal_norm_has_mean_interval_and_median_of_every_measure_over_the_successful(tmp_path):
    def moved(sample, x, success=True):
        sizes = {name.replace(" ", "_"): x * scale for name, scale in MEASURES.items()}
        return sample_row("k", sample, success=success, **sizes | {"steps": 10 * x, "l0": 30 * x})

    samples = [moved(1, 1), moved(2, 2), moved(3, 6), moved(4, 90, success=False), moved(5, 900)]
    wanted = written(tmp_path / "wanted.parquet", [wanted_row("c", "k", **FREE)], WANTED)
    path = written(tmp_path / "0-5.parquet", samples, SAMPLES)
    with connect(Contents(wanted=[("g", wanted)], slices=[Slice("k", path, 0, 0, 5)])) as con:
        found = answer(con, "minimal_norm", "g", "measure", "mean", "mean_low", "mean_high", "median", "median_all")
    # Of 1, 2 and 6 the mean is 3, the median 2, the variance 7; of 1, 2, 6 and infinity the median is 4.
    radius = 1.959964 * math.sqrt(7 / 3)
    assert found == [
        (name, 3 * size, pytest.approx((3 - radius) * size), pytest.approx((3 + radius) * size), 2 * size, 4 * size)
        for name, size in MEASURES.items()
    ]


def test_minimal_norm_says_the_share_of_success_with_every_measure(store):
    columns = ("attack", "success_rate", "success_rate_low", "success_rate_high", "n_attacked", "n_success")
    # 2 of 2, by hand: (2 + z²/2 ± z²/2) / (2 + z²)
    row = ("deepfool", 1.0, pytest.approx(0.342380, abs=1e-6), pytest.approx(1), 2, 2, 2, 4, False)
    with connect(store) as con:
        found = answer(con, "minimal_norm", "one", *columns, "samples_stored", "samples_wanted", "complete")
        assert found == [row] * 7


def test_a_minimal_norm_case_without_success_or_samples_has_its_rows_without_a_distance(tmp_path):
    rows = [wanted_row("c", "k1", samples=2, **FREE), wanted_row("c", "k2", **FREE, space="standardised")]
    wanted = written(tmp_path / "wanted.parquet", rows, WANTED)
    samples = [sample_row("k1", 1, l2=9.0), sample_row("k1", 2, correct=False)]
    path = written(tmp_path / "0-2.parquet", samples, SAMPLES)
    with connect(Contents(wanted=[("g", wanted)], slices=[Slice("k1", path, 0, 0, 2)])) as con:
        columns = (
            "space",
            "measure",
            "success_rate",
            "n_attacked",
            "n_success",
            "mean",
            "mean_low",
            "median",
            "median_all",
        )
        assert answer(con, "minimal_norm", "g", *columns) == [
            *(("pixel", measure, 0.0, 1, 0, None, None, None, math.inf) for measure in MEASURES),
            *(("standardised", measure, None, 0, 0, *[None] * 4) for measure in MEASURES),
        ]


@pytest.mark.parametrize(("successes", "due"), [(3, 3.0), (2, math.inf), (1, math.inf), (0, math.inf)])
def test_the_median_of_all_is_infinite_where_half_fail(successes, due, tmp_path):
    samples = [sample_row("k", i, success=i < successes, l2=1.0 + i) for i in range(5)]
    wanted = written(tmp_path / "wanted.parquet", [wanted_row("c", "k", samples=5, **FREE)], WANTED)
    path = written(tmp_path / "0-5.parquet", samples, SAMPLES)
    with connect(Contents(wanted=[("g", wanted)], slices=[Slice("k", path, 0, 0, 5)])) as con:
        assert answer(con, "minimal_norm", "g", "measure", "median_all")[2] == ("l2", due)


def test_worst_case_takes_the_samples_that_every_attack_of_a_budget_has(store):
    columns = ("head", "norm", "eps_label", "attacks", "accuracy", "n", "samples_wanted", "complete", "limited_by")
    with connect(store) as con:
        assert answer(con, "worst_case", "one", *columns) == [
            ("softmax", "linf", "0.1", 2, 0.5, 2, 2, True, None),
            ("softrmax", "linf", "0.1", 1, None, 0, 4, False, "fgsm"),
        ]


@pytest.fixture
def study(tmp_path):
    """A published value about two variants, one about a case without variant, and one with nothing stored."""
    rows = [
        wanted_row("c", "kp", attack_label="fgsm as published", variant="published"),
        wanted_row("c", "kc", attack_label="fgsm corrected", variant="corrected"),
        wanted_row("c", "km", "pgd"),
        wanted_row("c", "ke", "apgd", variant="published"),
    ]
    values = [
        *(("robust_accuracy", case, 0.25, "Table 1") for case in ("kp", "kc")),
        *(("mean_l2", case, 1.5, "Table 1") for case in ("kp", "kc")),
        ("success_rate", "km", 0.5, "Table 2"),
        ("clean_accuracy", "ke", 0.97, "Table 3"),
    ]
    published = [
        {"case_id": case, "cell_id": "c", "metric": metric, "value": value, "source": source, "note": ""}
        for metric, case, value, source in values
    ]
    samples = {
        "kp": [sample_row("kp", 1, success=True, l2=1.0), sample_row("kp", 2, success=True, l2=2.0)],
        "kc": [sample_row("kc", 1, l2=9.0), sample_row("kc", 2, success=True, l2=4.0)],
        "km": [sample_row("km", 1, success=True), sample_row("km", 2, correct=False)],
    }
    return Contents(
        wanted=[("g", written(tmp_path / "wanted.parquet", rows, WANTED))],
        published=[("g", written(tmp_path / "published.parquet", published, PUBLISHED))],
        slices=[
            Slice(case, written(tmp_path / f"{case}.parquet", kept, SAMPLES), 0, 0, 2) for case, kept in samples.items()
        ],
    )


def test_a_published_value_stands_in_one_row_beside_each_variant_of_it(study):
    columns = ("source", "metric", "published", "as_published", "corrected", "measured", "complete")
    with connect(study) as con:
        assert answer(con, "published", "g", *columns) == [
            ("Table 1", "mean_l2", 1.5, 1.5, 4.0, None, False),
            ("Table 1", "robust_accuracy", 0.25, 0.0, 0.5, None, False),
            ("Table 2", "success_rate", 0.5, None, None, 1.0, False),
            ("Table 3", "clean_accuracy", 0.97, None, None, None, False),
        ]


def test_the_counts_tell_a_value_not_wanted_from_one_not_there_yet(study):
    with connect(study) as con:
        assert answer(con, "published", "g", "as_published_n", "corrected_n", "measured_n") == [
            (2, 1, None),
            (2, 2, None),
            (None, None, 1),
            (0, None, None),
        ]


def test_published_values_of_two_attacks_that_differ_in_a_parameter_are_not_pooled(tmp_path):
    rows = [wanted_row("c", f"k{steps}", "pgd", 1, attack_label=f"pgd(eps=0.1, steps={steps})") for steps in (10, 20)]
    published = [
        {"case_id": f"k{steps}", "cell_id": "c", "metric": "robust_accuracy", "value": 0.0, "source": "T", "note": ""}
        for steps in (10, 20)
    ]
    shards = [
        Slice(case, written(tmp_path / f"{case}.parquet", [sample_row(case, 1, success=hit)], SAMPLES), 0, 0, 1)
        for case, hit in (("k10", False), ("k20", True))
    ]
    contents = Contents(
        wanted=[("g", written(tmp_path / "wanted.parquet", rows, WANTED))],
        published=[("g", written(tmp_path / "published.parquet", published, PUBLISHED))],
        slices=shards,
    )
    with connect(contents) as con:
        found = answer(con, "published", "g", "attack", "measured", "measured_n", "complete")
        assert found == [("pgd(steps=10)", 1.0, 1, True), ("pgd(steps=20)", 0.0, 1, True)]


def test_published_values_are_ordered_by_source_dataset_head_attack_and_the_size_of_eps(tmp_path):
    asked = [
        ("T2", "digits", "softmax", "fgsm", "0.1", 0.1),
        ("T1", "letters", "softmax", "fgsm", "0.1", 0.1),
        ("T1", "digits", "softrmax", "bim", "0.1", 0.1),
        ("T1", "digits", "softmax", "fgsm", "16/255", 16 / 255),
        ("T1", "digits", "softmax", "fgsm", "8/255", 8 / 255),
        ("T1", "digits", "softmax", "bim", "0.1", 0.1),
    ]
    wanted = [
        wanted_row(f"c{i}", f"k{i}", attack, dataset=dataset, head=head, eps=eps, eps_label=label)
        for i, (_, dataset, head, attack, label, eps) in enumerate(asked)
    ]
    published = [
        {"case_id": f"k{i}", "cell_id": f"c{i}", "metric": "robust_accuracy", "value": 0.5, "source": s, "note": ""}
        for i, (s, *_) in enumerate(asked)
    ]
    contents = Contents(
        wanted=[("g", written(tmp_path / "wanted.parquet", wanted, WANTED))],
        published=[("g", written(tmp_path / "published.parquet", published, PUBLISHED))],
    )
    with connect(contents) as con:
        found = answer(con, "published", "g", "source", "dataset", "head", "attack", "eps_label")
        assert found == [row[:-1] for row in reversed(asked[3:])] + [row[:-1] for row in reversed(asked[:3])]


def test_a_published_row_names_both_spaces_and_boxes_and_one_spelling_of_its_eps(tmp_path):
    rows = [
        wanted_row("c", "kp", variant="published", space="standardised", box=False, eps_label="0.1"),
        wanted_row("c", "kc", variant="corrected", eps_label="0.10"),
    ]
    published = [
        {"case_id": case, "cell_id": "c", "metric": "robust_accuracy", "value": 0.5, "source": "T", "note": ""}
        for case in ("kp", "kc")
    ]
    contents = Contents(
        wanted=[("g", written(tmp_path / "wanted.parquet", rows, WANTED))],
        published=[("g", written(tmp_path / "published.parquet", published, PUBLISHED))],
    )
    with connect(contents) as con:
        found = answer(con, "published", "g", "space", "box", "eps_label", "as_published_n", "corrected_n")
        assert found == [("standardised, pixel", "no, yes", "0.1", 0, 0)]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_of_a_grid_without_any_file_of_results_can_be_asked(name, tmp_path):
    wanted = written(tmp_path / "wanted.parquet", [wanted_row("c", None)], WANTED)
    with connect(Contents(wanted=[("g", wanted)])) as con:
        assert query(con, name, "g").num_rows == (1 if name in {"robust_accuracy", "history"} else 0)


def test_an_unknown_table_or_grid_is_named_with_what_there_is(store):
    with connect(store) as con:
        with pytest.raises(UsageError, match=r"unknown table 'worst'.*Known: certified, correlation"):
            query(con, "worst", "one")
        with pytest.raises(UsageError, match=r"unknown grid 'on'\. Did you mean 'one'\? Known: one, two"):
            query(con, "worst_case", "on")


def test_past_seconds_are_means_over_attacked_samples_and_trained_cells(store):
    with connect(store) as con:
        attack, train = history_seconds(con)
    assert [(r["attack"], r["architecture"], r["seconds"], r["n"]) for r in attack.to_pylist()] == [
        ("deepfool", "mlp", 0.5, 2),
        ("fgsm", "mlp", 0.5, 3),
        ("pgd", "mlp", 0.5, 4),
    ]
    assert train.to_pylist() == [
        {"dataset": "d", "architecture": "resnet", "seconds": 8.0, "n": 1},
        {"dataset": "digits", "architecture": "mlp", "seconds": 2.0, "n": 1},
    ]


# What a user's own SQL may do


READING = (
    "select 1 as a",
    "from runs",
    "values (1)",
    "describe samples",
    "show tables",
    "summarize cells",
    "explain select 1",
    "explain analyze from cells;",
    "with a as (select 1) select * from a",
    "with recursive t as (select 1 as i union all select i + 1 from t where i < 3) select * from t",
    "select 1 union select 2",
    "select * from range(3)",
    "pivot cells on head in ('softmax') using count(*)",
)


@pytest.mark.parametrize("text", READING)
def test_statements_that_read_are_answered(text, store):
    with connect(store) as con:
        assert run_sql(con, text).num_rows > 0


CHANGING = (
    "copy (select 1) to '{shard}'",
    "copy (select 1 as a) to '{shard}' (format parquet, use_tmp_file false)",
    "with x as (copy (select 1 as a) to '{shard}' (format parquet, use_tmp_file false)) select 1",
    "select (with x as (copy (select 1 as a) to '{shard}' (format parquet, use_tmp_file false)) select 1)",
    "explain analyze copy (select 1 as a) to '{shard}' (format parquet, use_tmp_file false)",
    "/* */ explain analyze copy (select 1 as a) to '{shard}' (format parquet, use_tmp_file false)",
    "from query('with x as (copy (select 1 as a) to ''{shard}'' (format parquet, use_tmp_file false)) select 1')",
    "with x as (delete from base.cells returning *) from x",
    "explain analyze delete from base.cells",
    "insert into base.cells from base.cells",
    "create table t (i int)",
    "drop view cells",
    "attach 'other.db'",
    "install httpfs",
    "load json",
    "set threads = 1",
    "pragma threads = 1",
    "call pragma_version()",
    "begin",
    "prepare p as select 1",
    "vacuum",
)


@pytest.mark.parametrize("text", CHANGING)
def test_statements_that_change_something_are_refused_and_change_nothing(text, store):
    shard = Path(store.slices[0].path)
    before = shard.read_bytes()
    with connect(store) as con:
        with pytest.raises(UsageError, match="only statements that read"):
            run_sql(con, text.format(shard=shard))
        assert rows_of(con, "select count(*) from base.cells") == [(2,)]
    assert shard.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "select * from read_csv('{file}')",
        "select * from read_text('{file}')",
        "select * from read_blob('{file}')",
        "select * from glob('{folder}/*')",
        "select * from '{file}'",
        "select * from read_parquet('s3://bucket/a.parquet')",
        "select contents from contents",
    ],
)
def test_no_file_beside_the_store_and_no_variable_can_be_read(text, store, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("password\nhunter2\n")
    contents = pa.table({"contents": ["a variable in reach of the call"]})
    with connect(store) as con, pytest.raises(UsageError) as refusal:
        run_sql(con, text.format(file=secret, folder=tmp_path))
    assert "hunter2" not in str(refusal.value)
    assert contents.num_rows == 1


def test_the_lock_holds_even_where_the_reading_rule_does_not_apply(store, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("password\nhunter2\n")
    with connect(store) as con:
        for text in (f"from read_csv('{secret}')", "set enable_external_access = true", f"attach '{tmp_path}/x.db'"):
            with pytest.raises(Exception, match=r"disabled by configuration|has been locked"):
                con.execute(text)


@pytest.mark.parametrize(("text", "count"), [("", 0), ("-- nothing", 0), ("select 1; select 2", 2)])
def test_other_than_one_statement_is_refused(text, count):
    with connect(Contents()) as con, pytest.raises(UsageError, match=f"one SQL statement.*{count}$"):
        run_sql(con, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("selec 1", "syntax error"),
        ("select nope from cells", '"nope" not found'),
        ("select * from nope", "nope does not exist"),
        ("select 'a'::int", "Could not convert"),
        ("select $grid", "parameters"),
    ],
)
def test_an_error_in_sql_is_a_usage_error_in_duckdbs_words(text, message):
    with connect(Contents()) as con:
        with pytest.raises(UsageError, match=message):
            run_sql(con, text)
        assert rows_of(con, "select 1") == [(1,)]


def test_columns_of_one_name_are_told_apart():
    with connect(Contents()) as con:
        assert run_sql(con, "select 1 as a, 2 as a, 3 as a_1").to_pylist() == [{"a": 1, "a_1": 2, "a_1_1": 3}]


def test_a_connection_leaves_nothing_behind_in_the_working_directory(store, tmp_path, monkeypatch):
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with connect(store) as con:
        run_sql(con, "select * from samples order by sample")
    assert list(folder.iterdir()) == []


def test_a_shard_that_vanishes_after_connecting_is_a_problem_of_the_store(store):
    with connect(store) as con:
        Path(store.slices[-1].path).unlink()
        with pytest.raises(StoreError, match=r"0-4\.parquet"):
            query(con, "robust_accuracy", "one")
        with pytest.raises(StoreError, match="not there any more"):
            run_sql(con, "select count(*) from samples where success")


def test_rendering_needs_no_duckdb():
    code = "import sys, grid.results.tables; assert 'duckdb' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, cwd=Path(__file__).parent.parent)
