"""The tables of what probes found, over all images and by class, on stores small enough to work out by hand."""

import math
import statistics

import pytest
from grids import answered, call
from probe_stores import answer, measured, probed_row, store_of, together
from test_query import wanted_row

from grid.questions import TABLES

Z = 1.959964


def wilson(k, n):
    centre, radius = (k + Z**2 / 2) / (n + Z**2), Z * math.sqrt(k * (n - k) / n + Z**2 / 4) / (n + Z**2)
    return pytest.approx(max(0, centre - radius)), pytest.approx(min(1, centre + radius))


def numbers(row):
    names = ("n", "absent", "mean", "mean_low", "mean_high", "median", "sd", "min", "max")
    return tuple(row[name] for name in names)


def test_numbers_are_over_the_images_that_have_a_value(tmp_path):
    rows = measured("k", {"steepness": [1.0, None, 2.0, 6.0]})
    (row,) = answer(store_of(tmp_path, [probed_row("c", "k")], [(0, rows)]), "measures")
    # Of 1, 2 and 6 the mean is 3, the median 2, the variance 7.
    radius = Z * math.sqrt(7 / 3)
    assert numbers(row) == (3, 1, 3.0, *map(pytest.approx, (3 - radius, 3 + radius, 2.0, math.sqrt(7), 1.0, 6.0)))
    assert [row[name] for name in ("probe", "measure", "layer", "epoch", "complete")] == [
        *("confidence", "steepness", None, None, True)
    ]


def test_a_measure_of_zeros_and_ones_has_a_wilson_interval(tmp_path):
    found = {"correct": [1.0, 0.0, 1.0, 1.0], "wrong": [0.0, 0.0, 0.0, None], "share": [0.0, 1.0, 1.0, 0.5]}
    rows = measured("k", found)
    store = store_of(tmp_path, [probed_row("c", "k")], [(0, rows)])
    correct, share, wrong = answer(store, "measures", "mean", "mean_low", "mean_high")
    assert correct == (0.75, *wilson(3, 4))
    assert wrong == (0.0, *wilson(0, 3))
    radius = Z * statistics.stdev([0, 1, 1, 0.5]) / 2
    assert share == (0.625, pytest.approx(0.625 - radius), pytest.approx(0.625 + radius))


def test_one_value_has_no_interval_and_no_value_no_number(tmp_path):
    rows = measured("k", {"found": [2.5, None], "never": [None, None]})
    store = store_of(tmp_path, [probed_row("c", "k", samples=2)], [(0, rows)])
    found, never = answer(store, "measures")
    assert numbers(found) == (1, 1, 2.5, None, None, 2.5, None, 2.5, 2.5)
    assert numbers(never) == (0, 2, *[None] * 7)


def test_an_infinite_value_takes_away_the_interval_and_no_other_row(tmp_path):
    rows = measured("k", {"ratio": [1.0, math.inf, 2.0], "other": [1.0, 2.0, 3.0]})
    other, ratio = answer(store_of(tmp_path, [probed_row("c", "k", samples=3)], [(0, rows)]), "measures")
    assert numbers(ratio) == (3, 0, math.inf, None, None, 2.0, None, 1.0, math.inf)
    assert other["sd"] == 1.0


def test_an_image_of_a_map_counts_as_the_mean_of_its_elements(tmp_path):
    rows = measured("k", {"map": [[0.0, 2.0, None], [4.0, 6.0, 8.0]]})
    store = store_of(tmp_path, [probed_row("c", "k", samples=2)], [(0, rows)])
    (row,) = answer(store, "measures")
    assert numbers(row)[:3] == (2, 0, 3.5)
    assert (row["min"], row["max"]) == (1.0, 6.0)


def test_epochs_and_layers_stand_apart_and_in_order(tmp_path):
    rows = together(
        *(measured("k", {"share": [0.5, 0.7]}, layer=layer, epochs=[epoch]) for epoch in (10, 9) for layer in "21"),
        *(measured("k", {"share": [float(epoch), 0.7]}, layer="10", epochs=[epoch]) for epoch in (9, 10)),
        *(measured("k", {"whole": [0.0, 1.0]}, epochs=[epoch]) for epoch in (10, 9)),
    )
    store = store_of(tmp_path, [probed_row("c", "k", samples=2, epochs="each")], [(0, rows)])
    assert answer(store, "measures", "epoch", "layer", "measure", "max") == [
        (epoch, layer, measure, pytest.approx(most))
        for epoch in (9, 10)
        for layer, measure, most in (
            *((None, "whole", 1.0), ("1", "share", 0.7), ("2", "share", 0.7), ("10", "share", epoch)),
        )
    ]


def test_what_is_missing_has_its_row_without_numbers(tmp_path):
    wanted = [
        probed_row("c", "half", samples=4),
        probed_row("c", "none", "input_gradient", samples=4),
        probed_row("untrained", "never", samples=4, head="softrmax"),
        wanted_row("c", "attack", samples=4),
    ]
    store = store_of(tmp_path, wanted, [(2, measured("half", {"correct": [1.0, 1.0]}))])
    for name in ("measures", "measures_by_class"):
        lines = answer(store, name, "head", "probe", "measure", "mean", "n", "samples_stored", "complete")
        assert lines[0] == ("softmax", "confidence", "correct", 1.0, 2, 2, False)
        assert lines[-2:] == [
            ("softmax", "input_gradient", None, None, 0, 0, False),
            ("softrmax", "confidence", None, None, 0, 0, False),
        ]
        assert len(lines) == (3 if name == "measures" else 4)


def test_samples_beyond_the_wanted_count_are_left_out(tmp_path):
    rows = measured("k", {"correct": [1.0, 1.0, 0.0, 0.0]}, labels=[0, 0, 1, 1])
    store = store_of(tmp_path, [probed_row("c", "k", samples=2)], [(0, rows)])
    assert answer(store, "measures", "mean", "n", "samples_stored", "complete") == [(1.0, 2, 2, True)]
    assert answer(store, "measures_by_class", "label", "mean", "n") == [(0, 1.0, 2), (None, 1.0, 2)]


def test_variants_stand_apart_and_are_both_named_where_they_are_one_case(tmp_path):
    wanted = [
        probed_row("c", "one", samples=1, variant="published"),
        probed_row("c", "one", samples=1, variant="corrected"),
        probed_row("d", "two", samples=1, variant="published"),
    ]
    shards = [(0, measured(case, {"correct": [value]})) for case, value in (("one", 1.0), ("two", 0.0))]
    store = store_of(tmp_path, wanted, shards)
    for name in ("measures", "measures_by_class"):
        assert set(answer(store, name, "variant", "mean", "n")) == {
            ("corrected, published", 1.0, 1),
            ("published", 0.0, 1),
        }


def test_a_class_counts_by_itself_and_all_classes_alike(tmp_path):
    labels = [0, 0, 0, 0, 0, 1, 1, 1]
    found = {"robust": [1, 1, 1, 1, 0, 0, 0, 1], "steepness": [1, 2, 3, 4, 90, 5, None, 7]}
    rows = measured("k", {name: [None if x is None else float(x) for x in xs] for name, xs in found.items()}, labels)
    lines = answer(store_of(tmp_path, [probed_row("c", "k", samples=8)], [(0, rows)]), "measures_by_class")
    robust, steepness = lines[:3], lines[3:]
    assert [(row["label"], row["n"], row["median"]) for row in lines] == [
        *((0, 5, 1.0), (1, 3, 0.0), (None, 8, 1.0), (0, 5, 3.0), (1, 2, 6.0), (None, 7, 4.0))
    ]
    assert [(row["mean_low"], row["mean_high"]) for row in robust[:2]] == [wilson(4, 5), wilson(1, 3)]
    # Not 5/8, which is the mean over images.
    mean = robust[2]["mean"]
    assert mean == pytest.approx((4 / 5 + 1 / 3) / 2)
    below = math.hypot(*(row["mean"] - row["mean_low"] for row in robust[:2])) / 2
    above = math.hypot(*(row["mean_high"] - row["mean"] for row in robust[:2])) / 2
    assert (robust[2]["mean_low"], robust[2]["mean_high"]) == (pytest.approx(mean - below), pytest.approx(mean + above))
    # Of normal intervals this is the normal interval of a stratified mean.
    variances = statistics.variance([1, 2, 3, 4, 90]) / 5, statistics.variance([5, 7]) / 2
    radius = Z * math.sqrt(sum(variances)) / 2
    assert steepness[2]["mean"] == pytest.approx((20 + 6) / 2)
    assert steepness[2]["mean_high"] == pytest.approx(13 + radius)


def test_the_interval_of_all_classes_is_unknown_where_that_of_one_is(tmp_path):
    rows = measured("k", {"steepness": [1.0, 2.0, 3.0, None]}, labels=[0, 0, 1, 2])
    told = ("label", "mean", "n", "mean_low")
    lines = answer(store_of(tmp_path, [probed_row("c", "k")], [(0, rows)]), "measures_by_class", *told)
    low = pytest.approx(1.5 - Z * math.sqrt(0.5 / 2))
    assert lines == [(0, 1.5, 2, low), (1, 3.0, 1, None), (2, None, 0, None), (None, 2.25, 3, None)]
    rows = measured("l", {"steepness": [1.0, 2.0, 3.0, 3.0]}, labels=[0, 0, 1, 1])
    (tmp_path / "more").mkdir()
    store = store_of(tmp_path / "more", [probed_row("c", "l")], [(0, rows)])
    assert all(low < mean for mean, low in answer(store, "measures_by_class", "mean", "mean_low")[::2])


@pytest.mark.parametrize("name", ["measures_by_class", "correlation", "histogram", "certified"])
def test_probes_of_every_epoch_are_in_no_table_of_the_cell_as_it_is_kept(name, tmp_path):
    probes = ("confidence", "input_gradient", "certified_radius")
    wanted = [probed_row("c", f"k{i}", probe, epochs="each") for i, probe in enumerate(probes)]
    store = store_of(tmp_path, wanted, [(0, measured("k0", {"confidence": [0.5] * 4}, epochs=[1, 2]))])
    assert answer(store, name) == []
    assert len(answer(store, "measures")) == 4


@pytest.mark.parametrize("name", [name for name in TABLES if name != "history"])
def test_tables_of_attacks_know_no_probes(name, tmp_path):
    store = store_of(tmp_path, [probed_row("c", "k", "other")], [(0, measured("k", {"x": [0.5] * 4}))])
    found = [row for row in answer(store, name) if row.get("attack") != "none"]
    assert len(found) == {"measures": 1, "measures_by_class": 2}.get(name, 0)


def test_the_command_says_the_same_as_json_and_as_text(tmp_path):
    rows = measured("k", {"correct": [1.0, 0.0, 1.0, 1.0]}, labels=[0, 0, 1, 1])
    store = store_of(tmp_path, [probed_row("c", "k")], [(0, rows)])
    shown = call("table", store.location, "measures", "--json")
    assert shown.exit_code == 0, shown.output
    assert answered(shown) == answer(store, "measures")
    text = call("table", store.location, "measures").stdout
    assert "probe       measure                   mean  median   sd  min  max  n  absent  samples" in text
    assert "confidence  correct  0.75 [0.3006, 0.9544]       1  0.5    0    1  4       0      4/4" in text
    text = call("table", store.location, "measures_by_class").stdout
    assert "label —: all classes" in text
