"""The tables that are about one probe each, and that of the trainings: worked out by hand, by numpy or by scipy."""

import json

import numpy as np
import pytest
from grids import call, launch, write_spec
from probe_stores import answer, measured, probed_row, store_of
from scipy import stats
from test_measures import wilson
from test_query import wanted_row

from grid.results.query import run_sql
from grid.results.views import Contents, connect


def columns(store, name, label):
    return [row for row in answer(store, name) if row["label"] == label]


# Correlation


def gradients(steepness, confidence, labels, **more):
    return measured("k", {"mean_abs_gradient": steepness, "true_class_confidence": confidence}, labels, **more)


def test_correlation_is_that_of_scipy_for_each_class_and_over_all(tmp_path):
    generator = np.random.default_rng(0)
    labels = generator.integers(3, size=200)
    confidence = generator.uniform(size=200).astype(np.float32)
    steepness = (labels - 0.3 * confidence + generator.normal(size=200)).astype(np.float32)
    rows = gradients(steepness.tolist(), confidence.tolist(), labels.tolist())
    store = store_of(tmp_path, [probed_row("c", "k", "input_gradient", samples=200)], [(0, rows)])
    for label, chosen in (*((label, labels == label) for label in range(3)), (None, labels >= 0)):
        (row,) = columns(store, "correlation", label)
        expected = stats.pearsonr(steepness[chosen].astype(float), confidence[chosen].astype(float))
        low, high = expected.confidence_interval(0.95)
        assert row["n"] == chosen.sum()
        assert row["correlation"] == pytest.approx(expected.statistic, rel=1e-9)
        assert row["p_value"] == pytest.approx(expected.pvalue, rel=1e-7)
        assert (row["correlation_low"], row["correlation_high"]) == (
            pytest.approx(low, abs=1e-6),
            pytest.approx(high, abs=1e-6),
        )


@pytest.mark.parametrize("count", [3, 4, 5, 30, 1000, 60000])
def test_the_p_value_is_exact_from_no_correlation_to_a_perfect_one(count):
    threshold = (3 / (count + 3)) ** 0.5
    correlations = [0.0, 1e-4, 0.03, -0.3, 0.9, -0.9999, 1.0, threshold * 0.999, threshold * 1.001]
    with connect(Contents()) as con:
        for r in correlations:
            [row] = run_sql(con, f"select correlation_p({r!r}::double, {count}) as p").to_pylist()
            t = abs(r) * ((count - 2) / ((1 - r) * (1 + r))) ** 0.5 if abs(r) < 1 else np.inf
            assert row["p"] == pytest.approx(2 * stats.t.sf(t, count - 2), rel=1e-7, abs=1e-300)


def test_a_correlation_of_too_few_pairs_or_of_a_constant_is_none(tmp_path):
    labels = [0, 0, 1, 1, 2, 2, 2, 3]
    steepness = [1.0, 2.0, 0.5, 0.5, 1.0, 2.0, 4.0, 1.0]
    confidence = [0.5, 0.25, 0.1, 0.2, 0.75, 0.5, 0.0, None]
    rows = gradients(steepness, confidence, labels)
    store = store_of(tmp_path, [probed_row("c", "k", "input_gradient", samples=8)], [(0, rows)])
    two, constant, line, one = answer(store, "correlation", "n", "correlation", "correlation_low", "p_value")[:4]
    assert two == (2, pytest.approx(-1), None, None)
    assert constant == (2, None, None, None)
    assert line == (3, pytest.approx(-1), None, pytest.approx(0, abs=1e-6))
    assert one == (0, None, None, None)


# Histogram


def bins(store, measure, images="all"):
    rows = answer(store, "histogram", "measure", "images", "bin_low", "bin_high", "n", "share")
    return [row[2:] for row in rows if row[:2] == (measure, images)]


def test_a_value_on_an_edge_is_in_the_bin_above_and_1_in_the_last(tmp_path):
    found = [0.0, 0.25, 0.5, 0.75, 1.0, 0.9999, 0.2499, 0.5]
    correct = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0]
    rows = measured("k", {"correct": correct, "confidence": found})
    store = store_of(tmp_path, [probed_row("c", "k", samples=8)], [(0, rows)])
    all_images, right = bins(store, "confidence"), bins(store, "confidence", "correct")
    assert [low for low, *_ in all_images] == [pytest.approx(i / 20) for i in range(20)]
    assert [high for _, high, *_ in all_images] == [pytest.approx((i + 1) / 20) for i in range(20)]
    counts = {0: 1, 4: 1, 5: 1, 10: 2, 15: 1, 19: 2}
    assert {i: n for i, (_, _, n, _) in enumerate(all_images) if n} == counts
    assert {i: n for i, (_, _, n, _) in enumerate(right) if n} == {0: 1, 5: 1, 10: 1, 19: 2}
    assert [share for *_, share in all_images] == [counts.get(i, 0) / 8 for i in range(20)]
    assert sum(share for *_, share in right) == pytest.approx(1)
    assert right[19][3] == 2 / 5


def test_histograms_are_those_of_numpy(tmp_path):
    generator = np.random.default_rng(1)
    margin = generator.normal(3, 5, size=300).astype(np.float32)
    likely = generator.uniform(size=300).astype(np.float32)
    found = {"correct": (margin > 0).astype(float), "margin": margin, "true_class_confidence": likely}
    rows = measured("k", {name: values.tolist() for name, values in found.items()})
    store = store_of(tmp_path, [probed_row("c", "k", samples=300)], [(0, rows)])
    spans = {"margin": (float(margin.min()), float(margin.max())), "true_class_confidence": (0.0, 1.0)}
    for name, span in spans.items():
        for images, chosen in (("all", margin < np.inf), ("correct", margin > 0)):
            counts, edges = np.histogram(found[name][chosen].astype(float), 20, span)
            answered = bins(store, name, images)
            assert [n for _, _, n, _ in answered] == counts.tolist()
            assert [low for low, *_ in answered] == pytest.approx(edges[:-1].tolist())
            assert [high for _, high, *_ in answered] == pytest.approx(edges[1:].tolist())


def test_each_cell_has_its_own_margins_and_one_margin_has_bins_too(tmp_path):
    wanted = [probed_row("c", "k", samples=2), probed_row("d", "l", samples=2, head="softrmax")]
    shards = [(0, measured("k", {"margin": [2.0, 2.0]})), (0, measured("l", {"margin": [-1.0, 9.0]}))]
    store = store_of(tmp_path, wanted, shards)
    ends = answer(store, "histogram", "head", "images", "bin_low", "n", "share")
    assert ends[0] == ("softmax", "all", 1.5, 0, 0.0)
    assert ends[10] == ("softmax", "all", 2.0, 2, 1.0)
    # Nothing was said of who is right, so that there are no shares.
    assert ends[20] == ("softmax", "correct", 1.5, 0, None)
    assert [row[3] for row in ends[40:60]] == [1, *[0] * 18, 1]
    assert ends[40][:3] == ("softrmax", "all", -1.0)


# Certified accuracy


def test_certified_accuracy_falls_with_the_radius_and_counts_no_wrong_image(tmp_path):
    radii = [0.0, 0.0, 0.1, 0.25, 0.2499, 0.6, 0.75, 0.9]
    abstained = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    wanted = [
        probed_row("c", "k", "certified_radius", samples=8),
        probed_row("d", "l", "certified_radius", samples=2, head="softrmax"),
        probed_row("untrained", "m", "certified_radius", head="sparsemax"),
    ]
    shards = [
        (0, measured("k", {"abstained": abstained, "correct_radius": radii})),
        (0, measured("l", {"abstained": [1.0, 1.0], "correct_radius": [0.0, 0.0]})),
    ]
    rows = answer(store_of(tmp_path, wanted, shards), "certified")
    told = [(row["head"], row["radius"], row["certified_accuracy"], row["n"]) for row in rows]
    assert told == [
        *(("softmax", radius, share / 8, 8) for radius, share in ((0, 6), (0.25, 4), (0.5, 3), (0.75, 2))),
        *(("softrmax", radius, 0.0, 2) for radius in (0, 0.25, 0.5, 0.75)),
        *(("sparsemax", radius, None, 0) for radius in (0, 0.25, 0.5, 0.75)),
    ]
    assert (rows[1]["certified_accuracy_low"], rows[1]["certified_accuracy_high"]) == wilson(4, 8)
    assert (rows[1]["abstention_rate_low"], rows[1]["abstention_rate_high"]) == wilson(1, 8)
    assert [row["abstention_rate"] for row in rows[::4]] == [1 / 8, 1.0, None]
    assert [row["complete"] for row in rows[::4]] == [True, True, False]


@pytest.mark.parametrize(
    ("name", "probe"),
    [("correlation", "input_gradient"), ("histogram", "confidence"), ("certified", "certified_radius")],
)
def test_a_probe_without_rows_has_its_line_and_other_probes_have_none(name, probe, tmp_path):
    wanted = [probed_row("c", "k", probe), probed_row("c", "l", "sensitivity_map")]
    store = store_of(tmp_path, wanted, [(0, measured("l", {"sensitivity": [0.5] * 4}))])
    told = ("probe", "n", "samples_stored", "samples_wanted", "complete")
    assert answer(store, name, *told) == [(probe, 0, 0, 4, False)]


# History


def test_history_has_a_row_per_epoch_and_one_for_a_cell_not_trained(tmp_path):
    wanted = [
        probed_row("c", "k"),
        probed_row("untrained", "l", head="softrmax"),
        wanted_row("needed", None, asked=False),
    ]
    epochs = [
        {"epoch": epoch, "loss": 1 / epoch, "train_accuracy": 0.5, "validation_loss": None, "lr": 0.1, "seconds": 2.0}
        | {"validation_objective": None, "validation_accuracy": None, "test_accuracy": None if epoch < 10 else 0.75}
        for epoch in (2, 10, 1)
    ]
    store = store_of(tmp_path, wanted, histories=[("c", epochs), ("needed", epochs)])
    told = ("head", "epoch", "loss", "train_accuracy", "validation_loss", "test_accuracy", "lr", "complete")
    assert answer(store, "history", *told) == [
        ("softmax", 1, 1.0, 0.5, None, None, 0.1, True),
        ("softmax", 2, 0.5, 0.5, None, None, 0.1, True),
        ("softmax", 10, 0.1, 0.5, None, 0.75, 0.1, True),
        ("softrmax", None, None, None, None, None, None, False),
    ]
    text = call("table", store.location, "history").stdout
    assert "head      epoch  loss  train accuracy %  test accuracy %   lr  seconds  complete" in text
    assert "softmax      10   0.1              50.0             75.0  0.1        2  yes" in text
    assert "validation" not in text


# A grid that really ran


def test_a_grid_of_probes_answers_every_table(tmp_path):
    probes = ["confidence", "input_gradient", {"confidence": {"epochs": "each", "samples": 20}}]
    tables = ["measures", "measures_by_class", "correlation", "histogram", "history"]
    spec = write_spec(tmp_path, attacks=[], probes=probes, tables=tables)
    ran = launch(spec, tmp_path / "store")
    assert ran.exit_code == 0, ran.output
    shown = call("table", tmp_path / "store", "--json")
    assert shown.exit_code == 0, shown.output
    found = {part["table"]: part["rows"] for part in json.loads(shown.stdout)["tables"]}
    assert list(found) == tables
    assert all(row["complete"] for rows in found.values() for row in rows)
    each = [row for row in found["measures"] if row["epoch"] is not None]
    assert {row["probe"] for row in each} == {"confidence(epochs=each)"}
    assert {(row["epoch"], row["n"]) for row in each} == {(1, 20), (2, 20)}
    assert {row["n"] + row["absent"] for row in found["measures"] if row["epoch"] is None} == {40}
    # Two cells, three measures, all images and the right ones, 20 bins.
    assert len(found["histogram"]) == 2 * 3 * 2 * 20
    assert sum(row["n"] for row in found["histogram"] if row["images"] == "all") == 2 * 3 * 40
    assert [row["epoch"] for row in found["history"]] == [1, 2] * 2
    assert all(-1 <= row["correlation"] <= 1 for row in found["correlation"] if row["label"] is None)
