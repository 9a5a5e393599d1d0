"""Every table of probes, of trainings and of what is done is what plain Python makes of the rows of a stored grid."""

import json
import math
import statistics
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from old_stores import FOLDERS
from recomputed import Grid, Z, by, median, rows_of, share, wanted_of, wilson
from recomputed_attacks import LINES, compare
from scipy import stats

from grid.results import contents as reading
from grid.results.query import query, status
from grid.store.store import Store

STORE, GRID = FOLDERS[0] / "store", "every_kind"


@pytest.fixture(scope="module")
def con():
    with reading.connect(Store(str(STORE)), lambda path, reason: pytest.fail(f"{path}: {reason}")) as connection:
        yield connection


def probed():
    """The cases of probes: what is wanted of each, and its rows."""
    wanted = {case: row for case, row in wanted_of(STORE, GRID).items() if row["probe"]}
    return [(row, rows_of(STORE, case, row["samples_wanted"])) for case, row in wanted.items()]


def kept(probe=None):
    """Those of the cells as they are kept: the rows that are of no epoch."""
    return [
        (row, rows)
        for row, rows in probed()
        if json.loads(row["probe_json"])["epochs"] != "each" and row["probe"] == (probe or row["probe"])
    ]


def images(rows, *names):
    """The values of each image, the mean of its elements, in groups by some columns and the sample."""
    found = {}
    for key, each in by(rows, *names, "sample").items():
        values = [row["value"] for row in each if row["value"] is not None]
        found.setdefault(key[:-1], []).append((each[0]["label"], statistics.fmean(values) if values else None))
    return found


def interval(values):
    if all(value in (0, 1) for value in values):
        return wilson(sum(values), len(values))
    if len(values) < 2:
        return None, None
    radius = Z * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values) - radius, statistics.fmean(values) + radius


def compared(con, table, names, numbers, expected):
    lines = query(con, table, GRID).to_pylist()
    found = {tuple(row[name] for name in ("head", "probe", *names)): tuple(row[n] for n in numbers) for row in lines}
    assert len(found) == len(lines)
    assert found.keys() == expected.keys()
    for about, values in expected.items():
        due = tuple(pytest.approx(v, rel=1e-6, abs=1e-9) if isinstance(v, float) else v for v in values)
        assert found[about] == due, about
    assert lines


def about(row, *more):
    return (row["head"], row["probe_label"], *more)


def test_measures(con):
    expected = {}
    for row, rows in probed():
        for key, each in images(rows, "epoch", "layer", "measure").items():
            values = [value for _, value in each if value is not None]
            numbers = (statistics.fmean(values), *interval(values), median(values), statistics.stdev(values))
            expected[about(row, *key)] = (*numbers, min(values), max(values), len(values), len(each) - len(values))
    names = ("mean", "mean_low", "mean_high", "median", "sd", "min", "max", "n", "absent")
    compared(con, "measures", ("epoch", "layer", "measure"), names, expected)


def test_measures_by_class(con):
    expected = {}
    for row, rows in kept():
        for key, each in images(rows, "layer", "measure").items():
            classes = {}
            for label in {label for label, _ in each}:
                values = [value for other, value in each if other == label and value is not None]
                average = statistics.fmean(values) if values else None
                low, high = interval(values) if values else (None, None)
                classes[label] = average, low, high, median(values), len(values)
            means = [(a, b, c) for a, b, c, *_ in classes.values() if a is not None]
            average, known = statistics.fmean(a for a, _, _ in means), all(low is not None for _, low, _ in means)
            below, above = (
                math.sqrt(sum((a - bounds[side]) ** 2 for a, *bounds in means)) / len(means) if known else None
                for side in (0, 1)
            )
            bounds = (average - below, average + above) if known else (None, None)
            everything = [value for _, value in each if value is not None]
            classes[None] = average, *bounds, median(everything), len(everything)
            expected |= {about(row, *key, label): numbers for label, numbers in classes.items()}
    names = ("mean", "mean_low", "mean_high", "median", "n")
    compared(con, "measures_by_class", ("layer", "measure", "label"), names, expected)


def test_correlation(con):
    expected = {}
    for row, rows in kept("input_gradient"):
        pairs = {}
        for (sample,), each in by(rows, "sample").items():
            values = {r["measure"]: r["value"] for r in each}
            pairs[sample] = each[0]["label"], values["mean_abs_gradient"], values["true_class_confidence"]
        for label in {None, *(label for label, _, _ in pairs.values())}:
            chosen = [(a, b) for other, a, b in pairs.values() if label in (None, other)]
            n = len(chosen)
            numbers = [None] * 4
            if n > 1:
                r = max(-1, min(1, statistics.correlation(*zip(*chosen, strict=True))))
                radius = Z / math.sqrt(n - 3) if n > 3 else None
                bounds = [math.tanh(math.atanh(r) + side * radius) if n > 3 else None for side in (-1, 1)]
                t = abs(r) * math.sqrt((n - 2) / (1 - r * r)) if n > 2 else None
                numbers = [r, *bounds, 2 * float(stats.t.sf(t, n - 2)) if n > 2 else None]
            expected[about(row, label)] = (*numbers, n)
    names = ("correlation", "correlation_low", "correlation_high", "p_value", "n")
    compared(con, "correlation", ("label",), names, expected)


def test_histogram(con):
    expected = {}
    for row, rows in kept("confidence"):
        right = {r["sample"] for r in rows if r["measure"] == "correct" and r["value"] == 1}
        for measure in ("confidence", "true_class_confidence", "margin"):
            values = [(r["sample"], r["value"]) for r in rows if r["measure"] == measure]
            low, high = (0, 1) if measure != "margin" else (min(v for _, v in values), max(v for _, v in values))
            for kind in ("all", "correct"):
                chosen = [value for sample, value in values if kind == "all" or sample in right]
                places = [min(19, int(20 * (value - low) / (high - low))) for value in chosen]
                for i in range(20):
                    n = places.count(i)
                    key = about(row, measure, kind, pytest.approx(low + i * (high - low) / 20))
                    expected[(*key[:-1], i)] = (low + i * (high - low) / 20, n, n / len(chosen) if chosen else None)
    lines = query(con, "histogram", GRID).to_pylist()
    numbered = by(lines, "head", "probe", "measure", "images")
    found = {(*key, i): row for key, each in numbered.items() for i, row in enumerate(each)}
    assert found.keys() == expected.keys()
    for key, (low, n, part) in expected.items():
        row = found[key]
        assert (row["bin_low"], row["n"], row["share"]) == (pytest.approx(low), n, part and pytest.approx(part))


def test_certified(con):
    cases = [(row, by(rows, "sample").values()) for row, rows in kept("certified_radius")]
    values = [(row, [{r["measure"]: r["value"] for r in each} for each in samples]) for row, samples in cases]
    farthest = max(each["correct_radius"] or 0 for _, samples in values for each in samples)
    expected = {}
    for row, samples in values:
        n, abstained = len(samples), sum(each["abstained"] == 1 for each in samples)
        for step in range(1 + int(4 * farthest)):
            k = sum((each["correct_radius"] or 0) > 0 and each["correct_radius"] >= step / 4 for each in samples)
            expected[about(row, step / 4)] = (*share(k, n), *share(abstained, n), n)
    rates = [f"{name}{end}" for name in ("certified_accuracy", "abstention_rate") for end in ("", "_low", "_high")]
    compared(con, "certified", ("radius",), (*rates, "n"), expected)


def test_history(con):
    heads = {row["cell_id"]: row["head"] for row in wanted_of(STORE, GRID).values()}
    names = ("loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_accuracy", "lr", "seconds")
    found = {(r["head"], r["epoch"]): tuple(r[n] for n in names) for r in query(con, "history", GRID).to_pylist()}
    assert found == {
        (head, row["epoch"]): tuple(row[name] for name in names)
        for cell, head in heads.items()
        for row in pq.read_table(Path(STORE, "cells", cell, "history.parquet")).to_pylist()
    }


def test_status_counts_what_is_stored(con):
    expected = []
    for case, row in wanted_of(STORE, GRID).items():
        done = len({r["position"] for r in rows_of(STORE, case, row["samples_wanted"])})
        label = row["attack_label"] or row["probe_label"]
        expected.append((row["cell_label"], label, done, row["samples_wanted"] - done))
    names = ("cell", "attack_or_probe", "done", "missing")
    assert sorted(tuple(row[n] for n in names) for row in status(con).to_pylist()) == sorted(expected)


@pytest.mark.parametrize("table", LINES)
def test_a_table_of_attacks_of_rows_from_before_is_what_python_makes_of_them(con, table):
    compare(con, Grid.stored(STORE, GRID), table, GRID)
