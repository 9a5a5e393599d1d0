"""Commands that change a store: launch, resume, tidy."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any, NoReturn

import click

from grid.cli.options import (
    execution_options,
    grid_option,
    json_option,
    spec_options,
    store_argument,
    store_option,
)
from grid.cli.output import Output
from grid.cli.spec_file import load

if TYPE_CHECKING:
    from grid.plan.asked import GridSpec
    from grid.store.store import Store

# ruff: noqa: PLC0415 - each command imports what it needs: --help must not wait for torch, Ray or DuckDB


@click.command()
@spec_options
@store_option
@execution_options
def launch(spec: str, store: str, profile: str | None, overrides: Sequence[str], as_json: bool, **how: Any) -> NoReturn:  # noqa: ANN401 - click passes them
    """Do what is missing of SPEC. The same command again resumes; an edited SPEC extends."""
    from grid.store.store import Store

    loaded = load(spec, profile, overrides)
    code, facts = _launch(loaded, Store(store), how)
    if as_json:
        Output("json").write_object(facts)
    sys.exit(code)


@click.command()
@store_argument
@grid_option
@execution_options
def resume(store: str, grid: str | None, as_json: bool, **how: Any) -> NoReturn:  # noqa: ANN401 - click passes them
    """Do what is missing in STORE, without the spec's file."""
    from grid.spec.read import parse_document
    from grid.store.store import Store

    opened = Store.existing(store)
    ended: list[tuple[int, dict[str, Any]]] = []
    for name in opened.grids.chosen(grid):
        spec = parse_document(opened.grids.document(name), opened.grids.document_path(name))
        ended.append(_launch(spec, opened, how))
        if ended[-1][0] == 130:
            break
    if as_json:
        Output("json").write_object({"grids": [facts for _, facts in ended]})
    sys.exit(max((code for code, _ in ended), default=0))


@click.command()
@store_argument
@json_option
def tidy(store: str, as_json: bool) -> None:
    """Merge the small files of every case in STORE. Readers and running grids are not disturbed."""
    from grid.store.store import Store

    opened = Store.existing(store)
    merged = sum(opened.shards.merge(case) for case in sorted(opened.shards.cases()))
    if as_json:
        Output("json").write_object({"store": store, "cases_merged": merged})
    else:
        click.echo(f"{merged} cases merged")


def _launch(spec: "GridSpec", store: "Store", given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The exit code of a launch, and its facts."""
    from grid.run.launch import launch as run_launch
    from grid.run.options import Execution, costs
    from grid.run.wording import outcome_facts, outcome_text
    from tasks.sources import search_here

    search_here()
    about_run = ("shard_size", "quiet")
    shard_size, quiet = (given[name] for name in about_run)
    execution = Execution(**{name: value for name, value in given.items() if name not in about_run})
    with redirect_stdout(sys.stderr):  # Ray prints its warnings to stdout, where only the result belongs
        plan, outcome = run_launch(
            spec, store, execution.open_executor, execution.settings(store), shard_size, costs(store), quiet=quiet
        )
    click.echo(outcome_text(spec.name, store.location, plan, outcome), err=True)
    return outcome.exit_code, outcome_facts(spec.name, store.location, plan, outcome)


COMMANDS = (launch, resume, tidy)
