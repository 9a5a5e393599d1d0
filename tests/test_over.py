"""Means over seeds and other axes, and published values beside them: each number again in plain Python."""

import functools
import itertools
import json
import math
import random
import statistics

import pyarrow as pa
import pytest
from scipy import stats
from test_query import sample_row, wanted_row, written

from grid.errors import UsageError
from grid.results.over import mean_over
from grid.results.parameters import without_what_follows
from grid.results.query import query, run_sql
from grid.results.student import quantile
from grid.results.tables import render
from grid.results.views import Contents, Slice, connect
from grid.results.where import Subject
from tasks.schema import PUBLISHED, SAMPLES, WANTED

SEEDS = (0, 1, 2)
ACTIVATIONS = (("relu", None), ("sigmoid", 0.25), ("sigmoid", 4.0))
ATTACKS = (("fgsm", None), ("pgd", 5), ("pgd", 20))
LACKING = ("sigmoid", 4.0, "pgd", 20)
"""Of this on seed 2 nothing is stored, on seed 1 half."""
NUM_SAMPLES = 12


def component(name, **parameters):
    return {"name": name, "version": 1, "parameters": parameters}


def cell_of(activation, temperature, seed):
    own = {} if temperature is None else {"temperature": temperature}
    return {"dataset": component("digits"), "activation": component(activation, **own), "seed": seed}


def asked(activation, temperature, seed, attack, steps, source=None):
    """A wanted row: a cell under an attack, that may look at the cell of another activation and the same seed."""
    number, cell = f"{activation}{temperature or ''}", cell_of(activation, temperature, seed)
    own = {} if steps is None else {"steps": steps}
    budget = {"norm": "linf", "eps": 8 / 255, "space": "pixel", "box": True}
    said = ", ".join(["eps=8/255", *([f"source={source}"] if source else []), *([f"steps={steps}"] if steps else [])])
    words = activation if temperature in {None, 1.0} else f"{activation}(temperature={temperature})"
    more = {"source": source, "source_cell_id": f"{source}-{seed}"} if source else {}
    return wanted_row(
        f"{number}-{seed}", f"{number}-{seed}-{attack}-{steps}-{source}", attack, NUM_SAMPLES,
        seed=seed, activation=activation, activation_label=words, cell_label=f"digits / {words} / seed {seed}",
        cell_json=json.dumps(cell), attack_json=json.dumps({**component(attack, **own), "budget": budget}),
        attack_label=f"{attack}({said})", eps=8 / 255, eps_label="8/255", **more,
    )  # fmt: skip


def grid_rows():
    rows = [
        asked(activation, temperature, seed, attack, steps)
        for (activation, temperature), (attack, steps), seed in itertools.product(ACTIVATIONS, ATTACKS, SEEDS)
    ]
    return [*rows, *(asked("sigmoid", 4.0, seed, "fgsm", None, source="relu") for seed in SEEDS)]


def samples_of(row):
    """Rows of a case, at random: all, half or none of them are there."""
    drawn = random.Random(row["case_id"])
    lacks = {1: NUM_SAMPLES // 2, 2: NUM_SAMPLES} if about_of(row) == LACKING else {}
    stored = NUM_SAMPLES - lacks.get(row["seed"], 0)
    right = random.Random(row["cell_id"])
    correct = [right.random() < 0.8 for _ in range(NUM_SAMPLES)]
    success = [is_right and drawn.random() < 0.5 for is_right in correct]
    return [
        sample_row(row["case_id"], i, correct[i], success[i], l2=drawn.random(), steps=drawn.randrange(9))
        | {"adv_pred": 2 if success[i] or not correct[i] else 1, "linf": 0.03}
        for i in range(stored)
    ]


VALUES = [
    ("sigmoid", 4.0, "fgsm", None, "robust_accuracy", 0.45, "seed", None),
    ("sigmoid", 0.25, "fgsm", None, "clean_accuracy", 0.1, "seed", 100),
    ("relu", None, "fgsm", None, "robust_accuracy", 0.4, None, 40),
    ("relu", None, "pgd", 5, "mean_l2", 0.5, "seed", 30),
    ("sigmoid", 4.0, "pgd", 20, "robust_accuracy", 0.5, "seed", 30),
    ("relu", None, "pgd", 20, "robust_accuracy", 0.5, None, 10_000),
]
"""What is published: of which cells and attack, the value, what it is a mean over, and of how many images."""


@pytest.fixture(scope="module")
def rows():
    """The samples of each case, by its wanted row."""
    return [(row, samples_of(row)) for row in grid_rows()]


@pytest.fixture(scope="module")
def con(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("over")
    slices = [
        Slice(row["case_id"], written(folder / f"{i}.parquet", found, SAMPLES), 0, 0, len(found))
        for i, (row, found) in enumerate(rows)
        if found
    ]
    published = [
        {"case_id": row["case_id"], "cell_id": row["cell_id"], "metric": metric, "value": value, "source": f"T{i}"}
        | {"note": "", "over": over, "n": n}
        for i, (*about, metric, value, over, n) in enumerate(VALUES)
        for row, _ in rows
        if row.get("source") is None and about_of(row) == tuple(about)
    ]
    wanted = [("g", written(folder / "wanted.parquet", [row for row, _ in rows], WANTED))]
    values = [("g", written(folder / "published.parquet", published, PUBLISHED))]
    with connect(Contents(wanted=wanted, published=values, slices=slices)) as con:
        yield con


def about_of(row):
    cell, attack = json.loads(row["cell_json"]), json.loads(row["attack_json"])
    temperature = cell["activation"]["parameters"].get("temperature")
    return (row["activation"], temperature, attack["name"], attack["parameters"].get("steps"))


@functools.cache
def answered(con, name, *axes):
    return query(con, name, "g", axes)


def answer(con, name, *axes):
    return answered(con, name, *axes).to_pylist()


def wilson(k, n):
    z = 1.959964
    centre, radius = k + z * z / 2, z * math.sqrt(k * (n - k) / n + z * z / 4)
    return max(0, (centre - radius) / (n + z * z)), min(1, (centre + radius) / (n + z * z))


def t_interval(values):
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values) - half, statistics.mean(values) + half


def test_the_quantiles_of_t_are_those_of_scipy_in_python_and_in_sql(con):
    for freedom in (1, 2, 9, 30, 31, 100, 10_000):
        [found] = run_sql(con, f"select student_quantile({freedom}) as q").to_pylist()
        assert quantile(freedom) == pytest.approx(found["q"]) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-4)


def test_a_line_over_seeds_is_that_of_the_rows_in_plain_python(con, rows):
    found = [line for line in answer(con, "robust_accuracy", "seed") if line["attack"] != "none"]
    groups = {}
    for row, samples in rows:
        groups.setdefault((about_of(row), row.get("source")), []).append(samples)
    assert len(found) == len(groups) == 10
    for line in found:
        name = line["attack"].partition("(")[0]
        source = "relu" if "source" in line["attack"] else None
        cases = groups[(line["activation"], line["temperature"], name, line["steps"]), source]
        there = [case for case in cases if case]
        shares = [statistics.mean(s["clean_correct"] and not s["success"] for s in case) for case in there]
        bounds = [wilson(share * len(case), len(case)) for share, case in zip(shares, there, strict=True)]
        assert line["accuracy"] == pytest.approx(statistics.mean(shares))
        assert line["accuracy_low"] == pytest.approx(statistics.mean(low for low, _ in bounds))
        assert line["accuracy_high"] == pytest.approx(statistics.mean(high for _, high in bounds))
        assert line["accuracy_sd"] == pytest.approx(statistics.stdev(shares))
        assert (line["accuracy_lowest"], line["accuracy_highest"]) == (min(shares), max(shares))
        low, high = t_interval(shares)
        assert line["accuracy_over_low"] == pytest.approx(max(0, low), abs=1e-6)
        assert line["accuracy_over_high"] == pytest.approx(min(1, high), abs=1e-6)
        assert (line["over"], line["accuracy_over_n"], line["over_wanted"]) == ("seed", len(there), 3)
        assert line["over_stored"] == len(there)
        assert line["n"] == line["samples_stored"] == sum(map(len, cases))
        assert line["complete"] == (sum(map(len, cases)) == 3 * NUM_SAMPLES)
    assert [line["over_stored"] for line in found].count(2) == 1


@pytest.mark.parametrize(
    ("name", "axes"),
    [("worst_case", ["seed", "temperature"]), ("fooling", ["seed", "attack.steps"]), ("transfer", ["seed"])]
    + [(name, ["seed"]) for name in ("minimal_norm", "measures", "history")],
)
def test_every_measured_number_of_a_line_is_the_mean_of_its_lines(con, name, axes):
    """Without a look at what the lines are about: over all of them, each number is there as often as it was."""
    before, after = answer(con, name), answer(con, name, *axes)
    means = [column.removesuffix("_sd") for column in (after[0] if after else ()) if column.endswith("_sd")]
    assert bool(means) == bool(before)
    assert sum(line["over_wanted"] for line in after) == len(before)
    assert not after or len(after) < len(before)
    for column in means:
        values = [line[column] for line in before if line[column] is not None]
        counted = [(line[column], line[f"{column}_over_n"]) for line in after if line[column] is not None]
        assert sum(mean * n for mean, n in counted) == pytest.approx(sum(values))
        assert sum(n for _, n in counted) == len(values)


def test_a_source_of_the_same_seed_is_the_same_in_every_line(con):
    transferred = [line for line in answer(con, "transfer", "seed") if line["source_seed"] is None]
    assert [(line["source_activation"], line["over_stored"]) for line in transferred if line["temperature"] == 4.0] == [
        ("relu", 3),
        ("sigmoid", 3),
    ]


def test_a_setting_that_ids_leave_out_is_averaged_over_as_any_other():
    cell, rows = cell_of("relu", None, 0), pa.table({"accuracy": [0.2, 0.6], "inputs": ["standardised", "raw"]})
    about = [Subject(cell, seen=cell), Subject(cell | {"inputs": "raw"}, seen=cell | {"inputs": "raw"})]
    [line] = mean_over(rows, about, ["inputs"], "robust_accuracy").to_pylist()
    assert (line["accuracy"], line["over_stored"]) == (pytest.approx(0.4), 2)


@pytest.mark.parametrize("swept", [False, True])
def test_what_trainings_watch_is_a_parameter_only_where_cells_differ_in_it_alone(swept):
    """Ids have it only where a part adds to the loss, as the balancer 0 does not."""
    trained = [{}, {"watch": "objective"}, {"watch": "objective"} | ({"watch": "head"} if swept else {})]
    cells = [
        {
            **cell_of("drelu", None, 0),
            "training": component("standard", **own),
            "activation": component("drelu", balancer=b),
        }
        for own, b in zip(trained, (0.0, 1.0, 1.0 if swept else 2.0), strict=True)
    ]
    found = without_what_follows([Subject(cell, seen=cell) for cell in cells])
    assert [each.cell["training"]["parameters"] for each in found] == (trained if swept else [{}, {}, {}])
    assert all(each.seen == each.cell for each in found)


def test_lines_of_one_seed_have_no_interval_over_seeds_and_a_report_says_so(con):
    found = answered(con, "robust_accuracy", "activation.temperature")
    alone = [line for line in found.to_pylist() if line["activation"] == "relu"]
    assert {(line["accuracy_over_low"], line["accuracy_sd"], line["accuracy_over_n"]) for line in alone} == {
        (None, None, 1)
    }
    assert "one alone has none" in render(found, "text", title="robust_accuracy")


def test_an_axis_that_no_line_has_is_refused_with_what_was_meant(con):
    with pytest.raises(UsageError, match=r"unknown axis 'sed'\. Did you mean 'seed'"):
        query(con, "robust_accuracy", "g", ["sed"])
    with pytest.raises(UsageError, match=r"histogram cannot be averaged .* its bins are those of each cell"):
        query(con, "histogram", "g", ["seed"])
    with pytest.raises(UsageError, match="only --over seed"):
        query(con, "published", "g", ["dataset"])


# Parameters, and what they are called


def test_swept_parameters_are_columns_of_their_own_type_and_null_where_there_is_none(con):
    found = answered(con, "robust_accuracy")
    assert {str(found.schema.field(name).type) for name in ("temperature", "eps")} == {"double"}
    assert str(found.schema.field("steps").type) == "int64"
    lines = found.to_pylist()
    assert {(line["activation"], line["temperature"]) for line in lines} == set(ACTIVATIONS)
    assert {line["eps"] for line in lines if line["attack"] != "none"} == {8 / 255}
    assert json.loads(render(found, "json"))[-1]["eps"] == 8 / 255
    assert {line["attack"] for line in lines} >= {"pgd(steps=5)", "pgd(steps=20)"}


def test_a_parameter_with_the_name_of_another_column_says_whose_it_is(con):
    assert {"steps", "attack.steps"} <= set(answered(con, "fooling").column_names)


def test_a_report_says_a_parameter_in_its_column_alone_and_spells_an_eps(con):
    text = render(answered(con, "robust_accuracy"), "text", title="robust_accuracy")
    assert "temperature=" not in text
    assert "steps=" not in text
    assert "fgsm(source=relu)" in text
    assert "8/255" in text
    assert "0.03137" not in text


# Published values


def verdict_of(value, n, numbers, bounds, over, ratio=1.0):
    """Whether a published rate agrees: as the table says it is defined."""
    mean = statistics.mean(numbers)
    low, high = statistics.mean(b[0] for b in bounds), statistics.mean(b[1] for b in bounds)
    if over:
        spread = t_interval(numbers)
        low, high = min(low, spread[0]), max(high, spread[1])
    own = wilson(value * n * ratio, n * ratio) if n else None
    return "agree" if low <= value <= high or (own and own[0] <= mean <= own[1]) else "differ"


def test_published_values_are_compared_as_plain_python_does(con, rows):
    lines = answer(con, "published")
    by_source = {}
    for line in lines:
        by_source.setdefault(line["source"], []).append(line)
    for number, (*about, metric, value, over, n) in enumerate(VALUES):
        cases = [samples for row, samples in rows if row.get("source") is None and about_of(row) == tuple(about)]
        found = by_source[f"T{number}"]
        assert len(found) == (1 if over else 3)
        if metric == "mean_l2":
            continue
        clean = metric == "clean_accuracy"
        shares = [
            statistics.mean(s["clean_correct"] and (clean or not s["success"]) for s in case) for case in cases if case
        ]
        bounds = [wilson(share * len(case), len(case)) for share, case in zip(shares, filter(None, cases), strict=True)]
        groups = (
            [(shares, bounds)] if over else [([share], [bound]) for share, bound in zip(shares, bounds, strict=True)]
        )
        for line, (numbers, intervals) in zip(found, groups, strict=True):
            assert line["measured"] == pytest.approx(statistics.mean(numbers))
            assert line["measured_low"] == pytest.approx(statistics.mean(low for low, _ in intervals))
            if n:
                assert (line["published_low"], line["published_high"]) == pytest.approx(wilson(value * n, n))
            if over:
                assert (line["measured_sd"], line["over_stored"]) == (
                    pytest.approx(statistics.stdev(numbers)),
                    len(numbers),
                )
                assert line["seed"] is None
            if line["verdict"] != "not comparable":
                assert line["verdict"] == verdict_of(value, n, numbers, intervals, over)
    reasons = {source: {line["reason"] for line in found} for source, found in by_source.items()}
    assert reasons["T4"] == {"incomplete"}
    assert reasons["T5"] == {"12 samples, published of 10000"}
    assert {line["verdict"] for line in by_source["T1"]} == {"differ"}
    assert reasons["T0"] == reasons["T2"] == {None}


def test_the_interval_of_a_published_mean_is_as_wide_as_the_measured_one_of_as_many(con):
    (line,) = (line for line in answer(con, "published") if line["metric"] == "mean_l2")
    half = (line["measured_high"] - line["measured_low"]) / 2
    successes = line["measured_n"]
    expected = half * math.sqrt(successes / 3 / (30 * successes / (3 * NUM_SAMPLES)))
    assert line["published_high"] - line["published"] == pytest.approx(expected)


def test_over_seed_compares_every_value_with_the_mean(con):
    lines = answer(con, "published", "seed")
    assert [line["source"] for line in lines] == [f"T{number}" for number in (0, 1, 2, 3, 4, 5)]
    assert {line["over"] for line in lines} == {"seed"}
    # One published training is no mean: the interval is that of one more.
    (single,) = (line for line in lines if line["source"] == "T2")
    half = stats.t.ppf(0.975, 2) * single["measured_sd"] * math.sqrt(1 + 1 / 3)
    assert single["measured_over_high"] - single["measured"] == pytest.approx(half, rel=1e-4)


def test_comparisons_can_be_asked_in_sql(con):
    found = run_sql(con, "select published_in, over, verdict from comparisons where over = 'seed' order by all")
    table = [line for line in answer(con, "published") if line["over"]]
    assert [tuple(row.values()) for row in found.to_pylist()] == [(t["source"], "seed", t["verdict"]) for t in table]


def test_a_corrected_procedure_and_a_single_seed_are_not_comparable(tmp_path):
    rows = [
        asked("relu", None, 0, "fgsm", None) | {"variant": "corrected"},
        asked("relu", None, 0, "pgd", 5) | {"case_id": "k"},
    ]
    value = {"cell_id": "relu-0", "metric": "robust_accuracy", "value": 0.5, "source": "T", "note": "", "n": 12}
    published = [
        value | {"case_id": rows[0]["case_id"], "over": None},
        value | {"case_id": "k", "over": "seed"},
    ]
    files = [
        Slice(row["case_id"], written(tmp_path / f"{i}.parquet", samples_of(row), SAMPLES), 0, 0, NUM_SAMPLES)
        for i, row in enumerate(rows)
    ]
    contents = Contents(
        wanted=[("g", written(tmp_path / "w.parquet", rows, WANTED))],
        published=[("g", written(tmp_path / "p.parquet", published, PUBLISHED))],
        slices=files,
    )
    with connect(contents) as con:
        found = [(line["verdict"], line["reason"]) for line in query(con, "published", "g").to_pylist()]
    assert found == [
        ("not comparable", "another procedure (corrected)"),
        ("not comparable", "published is a mean over seeds: one seed"),
    ]
