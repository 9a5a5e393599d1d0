"""Questions to a store: those of attackgrid, each a file of `grid/results/sql`, and a user's own in SQL.

Files are read when a question is asked. Knows nothing of how answers are shown.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from grid.errors import StoreError, UsageError
from grid.questions import TABLES
from grid.results.database import Connection, answer, explained, sql_text
from grid.results.read_only import refuse_all_but_reading
from tasks.words import unknown


class Seconds(NamedTuple):
    """What past work took on average, in seconds; `n` is how many samples or cells each mean is over.

    `attack`: per attacked sample, by (attack, architecture, dataset). `train`: per cell, by (dataset, architecture).
    """

    attack: pa.Table
    train: pa.Table


def query(con: Connection, name: str, grid: str) -> pa.Table:
    """The answer to one of TABLES about a grid. Raises UsageError if either is unknown, StoreError on torn files."""
    if name not in TABLES:
        raise UsageError(unknown("table", name, TABLES))
    known = answer(con, "SELECT grid FROM base.wanted_files")["grid"].to_pylist()
    if grid not in known:
        raise UsageError(unknown("grid", grid, known))
    with explained(con, StoreError):
        return answer(con, sql_text(name), {"grid": grid})


def status(con: Connection) -> pa.Table:
    """What is done, missing and failed, case by case. Raises StoreError on torn files."""
    with explained(con, StoreError):
        return answer(con, sql_text("status"))


def is_complete(con: Connection) -> bool:
    """Whether every wanted sample is stored and every cell trained. Raises StoreError on torn files."""
    with explained(con, StoreError):
        return bool(answer(con, sql_text("is_complete"))["is_complete"][0].as_py())


def history_seconds(con: Connection) -> Seconds:
    """What the store's own past says about durations. Raises StoreError on torn files."""
    with explained(con, StoreError):
        return Seconds(answer(con, sql_text("attack_seconds")), answer(con, sql_text("train_seconds")))


def run_sql(con: Connection, text: str) -> pa.Table:
    """The answer to a user's own SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN.

    Raises UsageError if the text is anything but one statement that only reads, or if DuckDB refuses it, and
    StoreError if a file of the store cannot be read.
    """
    with explained(con, UsageError):
        refuse_all_but_reading(con, text)
        rows = answer(con, text)
    return rows.rename_columns(_told_apart(rows.column_names))


def _told_apart(names: Sequence[str]) -> list[str]:
    told: list[str] = []
    for name in names:
        count = 1
        unique = name
        while unique in told:
            unique, count = f"{name}_{count}", count + 1
        told.append(unique)
    return told
