"""Commands that answer questions about a store: table, sql."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from grid.cli.options import grid_option, printing_options, store_argument, where_option
from grid.cli.output import Broken, Output, jsonable
from grid.errors import UsageError
from grid.questions import TABLES, VIEWS

# ruff: noqa: PLC0415 - each command imports what it needs: --help must not wait for torch, Ray or DuckDB


@click.command(help=f"Render the tables that the spec names, or the one called NAME.\n\nTables: {', '.join(TABLES)}.")
@store_argument
@click.argument("name", required=False)
@grid_option
@where_option
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
    from grid.results.contents import connect
    from grid.results.query import query
    from grid.results.tables import render
    from grid.spec.read import parse_document
    from grid.spec.rules import parse_where
    from grid.store.store import Store
    from tasks.words import unknown

    opened = Store.existing(store)
    if name is not None and name not in TABLES:
        raise UsageError(unknown("table", name, TABLES))
    broken = Broken()
    grids = opened.grids.chosen(grid)
    connection = connect(opened, broken, parse_where(where) if where else None, grids)
    found = [
        (each, wanted, query(connection, wanted, each))
        for each in grids
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
@grid_option
@where_option
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
    from grid.results.contents import connect
    from grid.results.query import run_sql
    from grid.spec.rules import parse_where
    from grid.store.store import Store

    broken = Broken()
    opened = Store.existing(store)
    connection = connect(opened, broken, parse_where(where) if where else None, opened.grids.chosen(grid))
    Output.of(form, output, as_json=as_json).write_rows(run_sql(connection, statement))
    sys.exit(broken.exit_code)


COMMANDS = (table, sql)
