"""The intervals of the tables hold what they promise: simulated a thousand times, with a truth that is known."""

import numpy as np
import pyarrow as pa
import pytest

from grid.results.database import answer, hold
from grid.results.views import Contents, connect

RUNS = 1000


def bounds(con, columns, text):
    """The lower and the upper bound of every run, from its rows."""
    con.execute("DROP TABLE IF EXISTS base.drawn")
    hold(con, "drawn", pa.table({name: pa.array(values.ravel()) for name, values in columns.items()}))
    found = answer(con, f"SELECT run, {text} FROM base.drawn GROUP BY run ORDER BY run")
    return found["low"].to_numpy(), found["high"].to_numpy()


def coverage(low, high, truth):
    return np.mean((low <= truth) & (truth <= high))


@pytest.fixture(scope="module")
def con():
    with connect(Contents()) as connection:
        yield connection


@pytest.mark.parametrize("draws", [1, 10])
@pytest.mark.parametrize(("a", "b"), [(8, 2), (0.8, 0.3)])
def test_the_accuracy_of_votes_is_in_its_interval(con, draws, a, b):
    generator = np.random.default_rng(3)
    likely = generator.beta(a, b, (200_000, 1))
    truth = np.mean(generator.binomial(draws, likely) > draws / 2)
    votes = generator.binomial(draws, generator.beta(a, b, (RUNS, 100)))
    columns = {"run": np.repeat(np.arange(RUNS), 100), "votes": votes / draws, "won": votes > draws / 2}
    doubt = f"avg(chance(won, votes, {draws}) * (1 - chance(won, votes, {draws})))"
    k, n = "count(*) FILTER (won)", "count(*)"
    text = f"voted_low({k}, {n}, {doubt}) AS low, voted_high({k}, {n}, {doubt}) AS high"
    low, high = bounds(con, columns, text)
    assert coverage(low, high, truth) >= 0.94
    plain = bounds(con, columns, f"wilson_low({k}, {n}) AS low, wilson_high({k}, {n}) AS high")
    assert np.all(low <= plain[0] + 1e-12)
    assert np.all(high >= plain[1] - 1e-12)


def test_a_vote_that_stands_6_to_4_falls_otherwise_more_often_than_one_of_10_to_0(con):
    found = answer(con, "SELECT chance(true, 0.6, 10) AS a, chance(true, 1.0, 10) AS b, chance(false, 0.4, 10) AS c")
    (row,) = found.to_pylist()
    assert row["a"] == pytest.approx(1 - row["c"])
    # Two votes of ten throws, six to four: the difference is normal with mean 2 and variance 20.
    assert row["a"] == pytest.approx(0.673, abs=0.01)
    assert row["b"] == pytest.approx(0.987, abs=0.01)


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.95])
def test_a_rate_over_targets_is_in_its_interval_by_sample_and_not_in_one_that_counts_rows(con, rate):
    generator = np.random.default_rng(4)
    samples, targets = 50, 9
    likely = generator.beta(rate, 1 - rate, (RUNS, samples, 1))
    hit = (generator.random((RUNS, samples, targets)) < likely).sum(2)
    run = np.repeat(np.arange(RUNS), samples)
    columns = {"run": run, "k": hit, "n": np.full(run.shape, targets)}
    low, high = bounds(con, columns, "rate_low(k, n) AS low, rate_high(k, n) AS high")
    assert coverage(low, high, rate) >= 0.92
    counted = bounds(con, columns, "wilson_low(sum(k), sum(n)) AS low, wilson_high(sum(k), sum(n)) AS high")
    assert coverage(*counted, rate) < 0.75


def test_a_mean_over_targets_is_in_its_interval_by_sample(con):
    generator = np.random.default_rng(5)
    samples, targets = 50, 9
    present = generator.random((RUNS, samples, targets)) < generator.uniform(0.2, 1, (RUNS, samples, 1))
    far = np.where(present, generator.normal(2, 1, (RUNS, samples, 1)) + generator.normal(0, 1, present.shape), 0)
    run = np.repeat(np.arange(RUNS), samples)
    columns = {"run": run, "x": far.sum(2), "n": present.sum(2)}
    low, high = bounds(con, columns, "ratio_low(x, n) AS low, ratio_high(x, n) AS high")
    assert coverage(low, high, 2) >= 0.92


def test_with_one_row_a_sample_the_intervals_are_wilsons_and_the_normal_one(con):
    values = np.random.default_rng(6).random((1, 20))
    columns = {"run": np.zeros(20, int), "x": values, "k": (values > 0.7).astype(int), "n": np.ones(20, int)}
    for ours, usual in (
        ("rate_{end}(k, n)", "wilson_{end}(sum(k), sum(n))"),
        ("ratio_{end}(x, n)", "avg(x) {sign} 1.959964e0 * stddev_samp(x) / sqrt(count(x))"),
    ):
        found, due = (
            bounds(
                con, columns, f"{text.format(end='low', sign='-')} AS low, {text.format(end='high', sign='+')} AS high"
            )
            for text in (ours, usual)
        )
        assert np.allclose(found, due, rtol=1e-12)


def test_what_every_sample_agrees_on_counts_as_many_as_there_are_samples(con):
    columns = {"run": np.repeat([0, 1], 5), "k": np.repeat([0, 9], 5), "n": np.full(10, 9)}
    low, high = bounds(con, columns, "rate_low(k, n) AS low, rate_high(k, n) AS high")
    due = answer(con, "SELECT wilson_high(0, 5) AS high, wilson_low(5, 5) AS low").to_pylist()[0]
    assert (low[0], high[0]) == (0, due["high"])
    assert (low[1], high[1]) == (pytest.approx(due["low"]), pytest.approx(1))


def test_a_whole_curve_lies_in_its_band(con):
    generator = np.random.default_rng(7)
    n = 60
    distances = np.sort(generator.random((RUNS, n)), axis=1)
    farthest = np.maximum(np.arange(1, n + 1) / n - distances, distances - np.arange(n) / n).max(1)
    band = answer(con, f"SELECT band({n}) AS band").to_pylist()[0]["band"]
    assert 0.94 <= np.mean(farthest <= band) <= 0.98
