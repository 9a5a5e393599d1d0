"""Commands that answer questions about a store: status, table, sql."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from grid.cli.options import grid_option, over_option, printing_options, store_argument, together, where_option
from grid.cli.output import Broken, Output, jsonable
from grid.errors import UsageError
from grid.questions import TABLES, VIEWS

if TYPE_CHECKING:
    from grid.plan.asked import TableAsked
    from grid.results.database import Connection
    from grid.store.store import Store

# ruff: noqa: PLC0415 - each command imports what it needs: --help must not wait for torch, Ray or DuckDB

narrowing_options = together(grid_option, where_option)


@click.command()
@store_argument
@narrowing_options
@click.option("--watch", is_flag=True, help="Again every two seconds, until everything is there.")
@printing_options
def status(
    store: str,
    grid: str | None,
    where: Sequence[str],
    watch: bool,
    form: str | None,
    as_json: bool,
    output: Path | None,
) -> NoReturn:
    """Say what is done, missing and failed in STORE, by cell and attack."""
    from grid.results import query

    out = Output.of(form, output, as_json=as_json)
    while True:
        _opened, connection = _open(store, grid, where, Broken())
        complete = query.is_complete(connection)
        if watch and sys.stdout.isatty():
            click.clear()
        out.write_rows(query.status(connection), complete=complete)
        if complete or not watch:
            sys.exit(0 if complete else 3)
        time.sleep(2)


@click.command(
    help="Render the tables that the spec names, or the one called NAME: one of these, one of the spec's own, or a "
    f"file of SQL.\n\nTables: {', '.join(TABLES)}."
)
@store_argument
@click.argument("name", required=False)
@narrowing_options
@over_option
@printing_options
def table(
    store: str,
    name: str | None,
    grid: str | None,
    where: Sequence[str],
    over: Sequence[str],
    form: str | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Render tables of a store; help is given above, from their names."""
    from grid.results.asked import answered
    from grid.results.tables import render

    broken = Broken()
    opened, connection = _open(store, grid, where, broken)
    found = [
        (each, asked.name, answered(connection, asked, each, over))
        for each in opened.grids.chosen(grid)
        for asked in _asked(opened, each, name)
    ]
    out = Output.of(form, output, as_json=as_json)
    if out.is_json:
        out.write_object({"tables": [{"grid": g, "table": t, "rows": jsonable(rows)} for g, t, rows in found]})
    else:
        out.write("\n\n".join(render(rows, out.form, title=t, grid=g, width=out.width) for g, t, rows in found))
    sys.exit(broken.exit_code)


@click.command(
    help=f"Ask STORE one question in SQL.\n\nViews: {', '.join(VIEWS)}.",
    context_settings={"ignore_unknown_options": True},  # SQL may open with a -- comment
)
@store_argument
@click.argument("statement")
@narrowing_options
@printing_options
def sql(
    store: str,
    statement: str,
    grid: str | None,
    where: Sequence[str],
    form: str | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Run one statement that reads; help is given above, from the names of the views."""
    from grid.results.query import run_sql

    broken = Broken()
    _opened, connection = _open(store, grid, where, broken)  # the copies of a bucket's files last as long as it does
    Output.of(form, output, as_json=as_json).write_rows(run_sql(connection, statement))
    sys.exit(broken.exit_code)


def _asked(store: "Store", grid: str, name: str | None) -> "Sequence[TableAsked]":
    """What a grid's spec names, or the table of a name: one there is, one of the spec's own, or a file of SQL."""
    from grid.plan.asked import TableAsked
    from grid.spec.read import parse_document
    from tasks.words import unknown

    if name in TABLES:
        return [TableAsked(name)]
    if name is not None and name.endswith(".sql"):
        try:
            return [TableAsked(Path(name).stem, sql=Path(name).read_text(encoding="utf-8"))]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{name}: cannot be read: {error}") from error
    named = parse_document(store.grids.document(grid), store.grids.document_path(grid)).tables
    own = [asked for asked in named if asked.sql]
    chosen = [asked for asked in own if asked.name == name] if name else named
    if not chosen:
        raise UsageError(unknown("table", name or "", [*TABLES, *(asked.name for asked in own), "a file of SQL"]))
    return chosen


def _open(store: str, grid: str | None, where: Sequence[str], broken: Broken) -> "tuple[Store, Connection]":
    """A store, and the views of that part of it which is asked about."""
    from grid.results.contents import connect
    from grid.spec.rules import parse_where
    from grid.store.store import Store

    opened = Store.existing(store)
    return opened, connect(opened, broken, parse_where(where), opened.grids.chosen(grid))


COMMANDS = (status, table, sql)
