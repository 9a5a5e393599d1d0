"""Questions to a store: those of attackgrid, each a file of `grid/results/sql`, and a user's own in SQL.

Files are read when a question is asked. Knows nothing of how answers are shown.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from grid.errors import StoreError, UsageError
from grid.questions import TABLES
from grid.results.columns import IDS
from grid.results.database import Connection, answer, asked_for, explained, sql_text
from grid.results.over import mean_over
from grid.results.parameters import in_order, with_parameters, without_what_follows
from grid.results.read_only import refuse_all_but_reading
from grid.results.views import add_comparisons
from grid.results.where import COLUMNS, Subject, subjects
from tasks.words import unknown

_MAY_SEE_COMPARISONS = re.compile(r"comparisons|show|summarize|duckdb_|schema", re.IGNORECASE)


class Seconds(NamedTuple):
    """What past work took on average, in seconds; `n` is how many samples or cells each mean is over.

    `attack`: per attacked sample, by (attack, architecture, dataset). `train`: per cell, by (dataset, architecture).
    """

    attack: pa.Table
    train: pa.Table


def query(con: Connection, name: str, grid: str, over: Sequence[str] = (), parameters: Sequence[str] = ()) -> pa.Table:
    """The answer to one of TABLES about a grid, with columns for the parameters in which its lines differ.

    `over`: axes of which it has the mean; `parameters`: those that have a column in any case.
    Raises UsageError if a name is unknown or there is no such mean, StoreError on torn files.
    """
    if name not in TABLES:
        raise UsageError(unknown("table", name, TABLES))
    known = answer(con, "SELECT grid FROM base.wanted_files")["grid"].to_pylist()
    if grid not in known:
        raise UsageError(unknown("grid", grid, known))
    text = sql_text(name)
    given = {"grid": grid}
    if "over" in asked_for(con, text):  # it has means of its own
        given, over = {**given, "over": _own_over(name, over)}, ()
    with explained(con, StoreError):
        if "base.compared" in text:
            add_comparisons(con)
        rows = answer(con, text, given)
        about = without_what_follows(_subjects(con, rows, grid))
    named = [each for each in (*over, *parameters) if each not in rows.column_names]
    rows = with_parameters(rows.select([each for each in rows.column_names if each not in IDS]), about, named)
    order = in_order(rows)
    rows, about = rows.take(pa.array(order, pa.int64())), [about[place] for place in order]
    return mean_over(rows, about, over, name) if over else rows


def _own_over(name: str, over: Sequence[str]) -> str:
    """The axis of a table that compares with what others averaged over: nothing, or seeds."""
    if over and list(over) != ["seed"]:
        raise UsageError(f"{name}: what was published is of one data set, one network, one attack: only --over seed")
    return "".join(over)


def _subjects(con: Connection, rows: pa.Table, grid: str) -> list[Subject]:
    """What each row is about, by its ids."""
    wanted = answer(con, "SELECT * FROM base.all_wanted WHERE grid = $grid", {"grid": grid}).select([*COLUMNS])
    cases: dict[str | None, Subject] = {}
    cells: dict[str, Subject] = {}
    for case, cell, subject in zip(
        wanted["case_id"].to_pylist(), wanted["cell_id"].to_pylist(), subjects(wanted), strict=True
    ):
        cases[case] = subject
        cells[cell] = Subject(subject.cell, seen=subject.cell)
    cell_ids = rows["cell_id"].to_pylist()
    case_ids = rows["case_id"].to_pylist() if "case_id" in rows.column_names else [None] * len(rows)
    return [cases[case] if case else cells[cell] for case, cell in zip(case_ids, cell_ids, strict=True)]


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
    return run_own(con, text, {})


def run_own(con: Connection, text: str, given: Mapping[str, str]) -> pa.Table:
    """The answer to a user's own statement, which may ask for what is given, as $grid. Raises as `run_sql`."""
    with explained(con, UsageError):
        refuse_all_but_reading(con, text)
        if _MAY_SEE_COMPARISONS.search(text):
            add_comparisons(con)
        asked = asked_for(con, text)
        if unknown_names := sorted(asked - given.keys()):
            raise UsageError(f"SQL: ${unknown_names[0]} is not given{', only $grid' if given else ''}")
        rows = answer(con, text, {name: given[name] for name in asked})
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
