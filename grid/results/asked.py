"""The tables that a spec asks for, answered as it lays them out; and whether there is what it asks them for."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from grid.errors import Problem, SpecError, StoreError, UsageError
from grid.plan.asked import GridSpec, TableAsked
from grid.plan.rule_index import PARAMETER_KINDS
from grid.results.columns import IDS, SPREAD, is_measured
from grid.results.database import Connection, answer, asked_for, sql_text
from grid.results.over import NEVER, is_about
from grid.results.query import query, run_own
from grid.results.shape import names_of, shaped
from grid.results.views import Contents, add_comparisons, connect
from tasks.config import CELL_LISTS, Component
from tasks.words import unknown

_AFTER_OVER = ("over", "over_stored", "over_wanted")


def answered(con: Connection, asked: TableAsked, grid: str, over: Sequence[str] = ()) -> pa.Table:
    """A table about a grid, laid out. `over` is averaged over in place of what the spec says.

    Raises UsageError where it asks for what there is not, or its SQL does more than read; StoreError on torn files.
    """
    if asked.sql and over:
        raise UsageError(f"{asked.name} is a table of your own: average in its SQL")
    if asked.sql:
        return shaped(run_own(con, asked.sql, {"grid": grid}), asked)
    named = [name.removeprefix("-") for name in (*asked.pivot, *asked.columns, *asked.sort)]
    return shaped(query(con, asked.name, grid, over or asked.over, named), asked)


def check_tables(spec: GridSpec) -> None:
    """Raise SpecError for every axis and column that a table does not have, and for SQL that is refused."""
    with connect(Contents()) as con:
        problems = [problem for table in spec.tables for problem in _problems(con, spec, table)]
    if problems:
        raise SpecError(spec.name, problems)


def _problems(con: Connection, spec: GridSpec, table: TableAsked) -> Iterator[Problem]:
    try:
        rows = run_own(con, table.sql, {"grid": ""}) if table.sql else _no_lines(con, table.name)
    except (UsageError, StoreError) as error:
        yield Problem(table.line, f"{table.key}.sql", f"SQL: {str(error).removeprefix('SQL: ')}")
        return
    swept = dict.fromkeys(_parameters(spec)) if not table.sql else {}
    if table.over and table.name in NEVER:
        yield Problem(table.line, f"{table.key}.over", f"{table.name} cannot be averaged: {NEVER[table.name]}")
        return
    columns = {*_columns(rows, table.over), *swept} - {*table.over}
    axes = {*CELL_LISTS, *swept, *(name for name in rows.column_names if is_about(name, rows))}
    axes = {"seed"} if _has_own_means(rows) else axes
    for option, known in (("over", axes), ("pivot", columns), ("columns", columns), ("sort", columns)):
        for name in getattr(table, option):
            plain = name.removeprefix("-") if option == "sort" else name
            if plain not in known:
                words = {each for each in known if each not in swept or "." not in each}
                what = "axis" if option == "over" else "column"
                yield Problem(table.line, f"{table.key}.{option}", unknown(what, plain, words))


def _no_lines(con: Connection, name: str) -> pa.Table:
    """A table of no grid, for its columns."""
    text = sql_text(name)
    add_comparisons(con)
    rows = answer(con, text, dict.fromkeys(asked_for(con, text), ""))
    return rows.select([each for each in rows.column_names if each not in IDS])


def _has_own_means(rows: pa.Table) -> bool:
    """Whether it is of what was published, which says by itself what it is a mean over: only seeds."""
    return "over" in rows.column_names


def _columns(rows: pa.Table, over: Sequence[str]) -> list[str]:
    """The names that may be asked for, those of the means over axes among them, and not the axes."""
    names = list(rows.column_names)
    if over and not _has_own_means(rows):
        names += [f"{field.name}_{end}" for field in rows.schema if is_measured(field) for end in SPREAD]
        names += _AFTER_OVER
    return names_of(names)


def _parameters(spec: GridSpec) -> Iterator[str]:
    """The parameters that may have a column: by their names, and with those of their kinds."""
    for component in _components(spec):
        if component.kind in PARAMETER_KINDS:
            yield from (name for given in component.parameters for name in (given, f"{component.kind}.{given}"))


def _components(spec: GridSpec) -> Iterable[Component]:
    return (component for block in spec.blocks for component in block.components())
