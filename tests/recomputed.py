"""What the tables are recomputed with: the Parquet files of a store, loops and the textbook's formulas, and no SQL."""

import json
import math
import re
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq

from tasks.schema import MEASURES, SAMPLES

Z = 1.959964
ABOUT = ("architecture", "defense", "head", "seed")
"""Axes by which the cells of the grids here differ."""

INFINITE = math.inf
NOTHING = dict.fromkeys((*SAMPLES.names, *MEASURES.names))
"""What a row from before a column has there."""


def wanted_of(store, grid):
    """The rows of what a grid asks for, one for each case."""
    rows = pq.read_table(Path(store, f"grids/{grid}/wanted.parquet")).to_pylist()
    return {row["case_id"]: row for row in rows if row["case_id"]}


def rows_of(store, case, limit):
    """The stored rows of a case below a position, with that position."""
    found = []
    for path in Path(store, "shards", case).glob("*.parquet"):
        rows = pq.read_table(path).to_pylist()
        start, stop = map(int, path.stem.split("-"))
        each = len(rows) // (stop - start)
        found += [NOTHING | row | {"position": start + number // each} for number, row in enumerate(rows)]
    return [row for row in found if row["position"] < limit]


class Grid:
    """What a grid wants of attacks, and the rows that are stored of it."""

    def __init__(self, wanted, rows):
        """`rows(case_id, limit)` are those of a case."""
        self.cases = {case: row for case, row in wanted.items() if row["attack"]}
        self.rows = {case: rows(case, row["samples_wanted"]) for case, row in self.cases.items()}
        told = {case: json.loads(row["attack_json"]) for case, row in self.cases.items()}
        drawing = {
            self.cases[case]["cell_id"]
            for case in self.cases
            if told[case]["draws"] > 1 or any(row["draws"] for row in self.rows[case])
        }
        self.draws = {c: told[c]["draws"] if row["cell_id"] in drawing else None for c, row in self.cases.items()}
        self.targets = {case: json.dumps(told[case]["targets"]) for case in self.cases}

    @classmethod
    def stored(cls, store, name):
        return cls(wanted_of(store, name), lambda case, limit: rows_of(store, case, limit))

    def groups(self, *names, of=lambda row: True):
        """Cases by the values of their wanted rows and how many draws decide them."""
        found = defaultdict(list)
        for case, row in self.cases.items():
            if of(row):
                found[(self.draws[case], *(row[name] for name in names))].append(case)
        return found


def by(rows, *names):
    found = defaultdict(list)
    for row in rows:
        found[tuple(row[name] for name in names)].append(row)
    return found


def last(value):
    """As a key of an order in which null comes last."""
    return (value is None, 0 if value is None else value)


def without(label, name, value):
    """A label without one of its parameters."""
    kept = re.sub(rf"(?<=\(|, ){re.escape(f'{name}={value}')}(, |(?=\)$))".replace(r"\(|, ", r"[( ]"), "", label)
    return kept.removesuffix("()").replace(", )", ")")


def about(row):
    return tuple(row[axis] for axis in ABOUT)


def attack_of(row):
    return without(row["attack_label"], "eps", row["eps_label"] or row["eps"])


def counts(grid, case):
    stored, wanted = len({row["position"] for row in grid.rows[case]}), grid.cases[case]["samples_wanted"]
    return stored, wanted, stored >= wanted


# Statistics


def wilson(k, n):
    if not n:
        return None, None
    centre, radius = (k + Z**2 / 2) / (n + Z**2), Z * math.sqrt(k * (n - k) / n + Z**2 / 4) / (n + Z**2)
    return max(0.0, centre - radius), min(1.0, centre + radius)


def share(k, n):
    return (k / n if n else None, *wilson(k, n))


def voted(k, n, chances):
    """The share with the interval of votes that may fall otherwise."""
    if not n:
        return None, None, None
    doubt = sum(c * (1 - c) for c in chances) / n
    centre = (k + Z**2 / 2) / (n + Z**2)
    many = n / (1 + doubt / (centre * (1 - centre)))
    return (k / n, *wilson(k / n * many, many))


def chance(won, votes, draws):
    if votes is None or draws is None:
        return float(won)
    otherwise = 1 / (1 + math.exp(1.702 * abs(2 * votes - 1) * math.sqrt(draws / 2)))
    return 1 - otherwise if won else otherwise


def clustered_share(clusters):
    """Of lists of booleans, one for each sample: the share, and its interval by sample."""
    k, n = sum(map(sum, clusters)), sum(map(len, clusters))
    if not n:
        return None, None, None
    size = n / len(clusters)
    more = [(sum(each), len(each)) for each in clusters] + [(size, size), (0, size)]
    rate = sum(hits for hits, _ in more) / sum(rows for _, rows in more)
    spread = sum((hits - rate * rows) ** 2 for hits, rows in more)
    many = n / max(1, spread / (rate * (1 - rate) * sum(rows for _, rows in more)))
    return (k / n, *wilson(k / n * many, many))


def clustered_mean(clusters):
    """Of lists of numbers, one for each sample: the mean, and its interval by sample."""
    clusters = [each for each in clusters if each]
    n, c = sum(map(len, clusters)), len(clusters)
    if not n:
        return None, None, None
    mean = math.fsum(map(math.fsum, clusters)) / n
    if c < 2:
        return mean, None, None
    spread = math.fsum((math.fsum(each) - mean * len(each)) ** 2 for each in clusters)
    radius = Z * math.sqrt(spread * c / (c - 1)) / n
    return mean, mean - radius, mean + radius


def median(values):
    values = sorted(values)
    if not values:
        return None
    low, high = values[(len(values) - 1) // 2], values[len(values) // 2]
    return low if low == high else (low + high) / 2


def mean(values):
    values = [value for value in values if value is not None]
    return math.fsum(values) / len(values) if values else None


def band(n):
    return math.sqrt(math.log(40) / (2 * n))


def within(row, norm, eps):
    return row[norm] is not None and 0 < row[norm] <= eps * (1 + 1e-4) + 1e-6


def confirmed(row, what="success"):
    """By the second vote, if there is one."""
    if what == "fooled":
        fooled = row["adv_pred"] is not None and row["adv_pred"] != row["clean_pred"]
        return fooled if row["second_pred"] is None else row["second_pred"] != row["clean_pred"]
    return row["success"] if row["second_success"] is None else row["second_success"]
