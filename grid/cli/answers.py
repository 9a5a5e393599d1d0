"""Commands that answer questions about a store: status, table, sql."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from grid.cli.options import grid_option, printing_options, store_argument, together, where_option
from grid.cli.output import Broken, Output, jsonable
from grid.errors import UsageError
from grid.questions import TABLES, VIEWS

if TYPE_CHECKING:
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


@click.command(help=f"Render the tables that the spec names, or the one called NAME.\n\nTables: {', '.join(TABLES)}.")
@store_argument
@click.argument("name", required=False)
@narrowing_options
@printing_options
def table(
    store: str,
    name: str | None,
    grid: str | None,
    where: Sequence[str],
    form: str | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Render tables of a store; help is given above, from their names."""
    from grid.results.query import query
    from grid.results.tables import render
    from grid.spec.read import parse_document
    from tasks.words import unknown

    broken = Broken()
    opened, connection = _open(store, grid, where, broken)
    if name is not None and name not in TABLES:
        raise UsageError(unknown("table", name, TABLES))
    found = [
        (each, wanted, query(connection, wanted, each))
        for each in opened.grids.chosen(grid)
        for wanted in ([name] if name else parse_document(opened.grids.document(each), store).tables)
    ]
    out = Output.of(form, output, as_json=as_json)
    if out.is_json:
        out.write_object({"tables": [{"grid": g, "table": t, "rows": jsonable(rows)} for g, t, rows in found]})
    else:
        out.write("\n\n".join(render(rows, out.form, title=t, grid=g) for g, t, rows in found))
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


def _open(store: str, grid: str | None, where: Sequence[str], broken: Broken) -> "tuple[Store, Connection]":
    """A store, and the views of that part of it which is asked about."""
    from grid.results.contents import connect
    from grid.spec.rules import parse_where
    from grid.store.store import Store

    opened = Store.existing(store)
    return opened, connect(opened, broken, parse_where(where), opened.grids.chosen(grid))


COMMANDS = (status, table, sql)
