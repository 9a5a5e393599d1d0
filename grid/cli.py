"""The commands: parse, call one function, print. The only `import click`.

Results go to stdout, progress and complaints to stderr. Everything heavy is imported by the command that needs it, so
that `--help` and `check` answer at once.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from grid import __version__
from grid.errors import GridError, SpecError, UsageError
from grid.questions import FORMATS, VIEWS

if TYPE_CHECKING:
    from grid.plan.asked import GridSpec
    from grid.store.store import Store

# ruff: noqa: PLC0415 - each command imports what it needs: --help must not wait for torch, Ray or DuckDB

EXIT_CODES = "Exit codes: 0 complete, 1 internal error, 2 usage or spec, 3 incomplete, 4 store, 130 interrupted."

spec_argument = click.argument("spec", type=click.Path(path_type=Path))
store_argument = click.argument("store")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
profile_option = click.option("--profile", help="Use the spec's overrides of this name.")
set_option = click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override one value.")
format_option = click.option("--format", "form", type=click.Choice(FORMATS), help="Default: text.")
shard_option = click.option(
    "--shard-size", type=click.IntRange(1), default=100, show_default=True, help="Samples per task and file."
)


def execution_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `launch` and `resume`: where and how, never what."""
    options = [
        click.option("--address", default="local", show_default=True, help="local, inline, auto or HOST:PORT."),
        click.option("--cpus", type=click.IntRange(1), help="CPU workers (inline: threads). Default: all."),
        click.option("--gpus", type=click.IntRange(0), help="GPUs to use. Default: all there are."),
        click.option("--gpu-fraction", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
                     help="Share of a GPU per worker."),
        click.option("--pretend-gpus", is_flag=True, help="Let a local Ray believe in --gpus that are not there."),
        click.option("--data-root", type=click.Path(path_type=Path), envvar="ATTACKGRID_DATA", show_envvar=True,
                     help="Where datasets lie. Default: the user's cache."),
        click.option("--download", is_flag=True, help="Download datasets that are missing."),
        shard_option,
        click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True,
                     help="Samples attacked at a time; halved when a GPU runs out of memory."),
        click.option("--fixed-batch", type=click.IntRange(1),
                     help="Pad every model pass to this many images: rounding cannot depend on the batch."),
        click.option("--quiet", is_flag=True, help="No progress."),
        json_option,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


class Commands(click.Group):
    """Turns every GridError into its message and exit code; a user's mistake never shows a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run the command."""
        try:
            return super().invoke(ctx)
        except GridError as error:
            click.echo(f"attackgrid: {error}", err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            sys.stderr.close()  # the reader left, as `head` does
            ctx.exit(0)
        except KeyboardInterrupt:
            click.echo("attackgrid: stopped; what was finished is in the store", err=True)
            ctx.exit(130)


@click.group(cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="attackgrid")
def main() -> None:
    """Launch, resume and query large grids of adversarial attacks on Ray."""


@main.command(epilog=EXIT_CODES)
@spec_argument
@profile_option
@set_option
@json_option
def check(spec: Path, profile: str | None, overrides: Sequence[str], as_json: bool) -> None:
    """Validate SPEC and list every problem in it."""
    from grid.plan.expand import expand
    from grid.spec.read import load_spec

    try:
        loaded = load_spec(spec, profile=profile, overrides=overrides)
    except SpecError as error:
        if as_json:
            problems = [{"line": p.line, "key": p.key, "message": p.message} for p in error.problems]
            _print_json({"ok": False, "problems": problems})
            sys.exit(error.exit_code)
        raise
    counts = {"cells": 0, "cases": 0, "samples": 0}
    for wanted in expand(loaded):
        counts["cells"] += 1
        counts["cases"] += len(wanted.asks)
        counts["samples"] += wanted.num_samples
    if as_json:
        _print_json({"ok": True, "name": loaded.name, **counts, "problems": []})
    else:
        click.echo(f"{spec}: ok: {counts['cells']} cells, {counts['cases']} cases, {counts['samples']} samples")


@main.command(epilog=EXIT_CODES)
@spec_argument
@click.option("--store", required=True, help="Directory or bucket of the results.")
@profile_option
@set_option
@shard_option
@json_option
def plan(spec: Path, store: str, profile: str | None, overrides: Sequence[str], shard_size: int, as_json: bool) -> None:
    """Say what a launch of SPEC would do. Writes nothing."""
    from grid.plan.expand import expand
    from grid.plan.plan import make_plan
    from grid.plan.stored import stored_in
    from grid.run.options import costs
    from grid.run.wording import plan_facts, plan_text
    from grid.spec.read import load_spec
    from grid.store.store import Store

    loaded = load_spec(spec, profile=profile, overrides=overrides)
    opened = Store(store)
    broken = Broken(stays="a launch would set it aside and attack its samples again")
    found = make_plan(expand(loaded), stored_in(opened, broken), shard_size)
    facts = plan_facts(loaded.name, found, costs(opened))
    if as_json:
        _print_json(facts)
    else:
        click.echo(plan_text(facts))


@main.command(epilog=EXIT_CODES)
@spec_argument
@click.option("--store", required=True, help="Directory or bucket of the results; made if it is not there.")
@profile_option
@set_option
@execution_options
def launch(spec: Path, store: str, profile: str | None, overrides: Sequence[str], **execution: Any) -> NoReturn:  # noqa: ANN401 - click passes them
    """Do what is missing of SPEC. The same command again resumes; an edited SPEC extends."""
    from grid.spec.read import load_spec
    from grid.store.store import Store

    as_json = execution.pop("as_json")
    code, facts = _launch(load_spec(spec, profile=profile, overrides=overrides), Store(store), execution)
    if as_json:
        _print_json(facts)
    sys.exit(code)


@main.command(epilog=EXIT_CODES)
@store_argument
@click.option("--grid", help="Only the grid of this name. Default: every grid in the store.")
@execution_options
def resume(store: str, grid: str | None, **execution: Any) -> NoReturn:  # noqa: ANN401 - click passes them
    """Do what is missing in STORE, without the spec's file."""
    from grid.spec.read import parse_document
    from grid.store.store import Store

    opened = Store.existing(store)
    as_json = execution.pop("as_json")
    ended: list[tuple[int, dict[str, Any]]] = []
    for name in _grids(opened, grid):
        loaded = parse_document(opened.grids.document(name), opened.grids.document_path(name))
        ended.append(_launch(loaded, opened, execution))
        if ended[-1][0] == 130:
            break
    if as_json:
        _print_json([facts for _, facts in ended])
    sys.exit(max((code for code, _ in ended), default=0))


@main.command(epilog=EXIT_CODES)
@store_argument
@click.option("--watch", is_flag=True, help="Again every two seconds, until everything is there.")
@format_option
@json_option
def status(store: str, watch: bool, form: str | None, as_json: bool) -> None:
    """Say what is done, missing and failed in STORE, by cell and attack."""
    while True:
        incomplete = _status(store, "json" if as_json else form or "text", clear=watch)
        if not (watch and incomplete):
            sys.exit(3 if incomplete else 0)
        time.sleep(2)


@main.command(epilog=EXIT_CODES)
@store_argument
@click.argument("name", required=False)
@click.option("--grid", help="Only the grid of this name. Default: every grid in the store.")
@format_option
@json_option
def table(store: str, name: str | None, grid: str | None, form: str | None, as_json: bool) -> None:
    """Render the tables that the spec names, or the one called NAME.

    JSON is the rows of the one table asked for, else a list of {grid, table, rows}.
    """
    from grid.questions import TABLES
    from grid.results.contents import connect
    from grid.results.query import query
    from grid.results.tables import render
    from grid.spec.read import parse_document
    from grid.store.store import Store

    opened = Store.existing(store)
    if name is not None and name not in TABLES:
        raise UsageError(f"no table {name!r}. There are: {', '.join(TABLES)}")
    broken = Broken()
    connection = connect(opened, broken)
    form = "json" if as_json else form or "text"
    found = [
        (each, wanted, query(connection, wanted, each))
        for each in _grids(opened, grid)
        for wanted in ([name] if name else parse_document(opened.grids.document(each), store).tables)
    ]
    if form == "json" and not (name and len(found) == 1):
        _print_json([{"grid": g, "table": t, "rows": json.loads(render(rows, form))} for g, t, rows in found])
    else:
        click.echo("\n\n".join(render(rows, form, title=t, grid=g) for g, t, rows in found))
    sys.exit(broken.exit_code)


@main.command(
    help=f"Ask STORE one question in SQL.\n\nViews: {', '.join(VIEWS)}.",
    epilog=EXIT_CODES,
    context_settings={"ignore_unknown_options": True},  # SQL may open with a -- comment
)
@store_argument
@click.argument("statement")
@format_option
@json_option
def sql(store: str, statement: str, form: str | None, as_json: bool) -> None:
    """Ask one question."""
    from grid.results.contents import connect
    from grid.results.query import run_sql
    from grid.results.tables import render
    from grid.store.store import Store

    broken = Broken()
    connection = connect(Store.existing(store), broken)
    click.echo(render(run_sql(connection, statement), "json" if as_json else form or "text"))
    sys.exit(broken.exit_code)


@main.command(epilog=EXIT_CODES)
@store_argument
def compact(store: str) -> None:
    """Merge the small files of every case in STORE. Readers and running grids are not disturbed."""
    from grid.store.store import Store

    opened = Store.existing(store)
    merged = sum(opened.shards.merge(case) for case in sorted(opened.shards.cases()))
    click.echo(f"{merged} cases compacted")


@main.command("list", epilog=EXIT_CODES)
@click.argument("kind")
@format_option
@json_option
def list_components(kind: str, form: str | None, as_json: bool) -> None:
    """List the components of KIND: datasets, architectures, activations, heads, defenses, attacks, probes."""
    from grid.results.tables import render
    from grid.spec.listing import components

    click.echo(render(components(kind), "json" if as_json else form or "text"))


@main.command(epilog=EXIT_CODES)
def schema() -> None:
    """Print a JSON Schema of the spec, for editors."""
    from grid.spec.json_schema import spec_schema

    _print_json(spec_schema())


class Broken:
    """Says each file that is no result, once, and remembers that there was one (as grep does: output, then 2)."""

    def __init__(self, stays: str = "passed over; `attackgrid resume` redoes its samples") -> None:
        self._stays = stays
        self.exit_code = 0

    def __call__(self, path: str, reason: str) -> None:
        """Say it."""
        click.echo(f"attackgrid: {path}: {reason}: {self._stays}", err=True)
        self.exit_code = 4


def _launch(spec: "GridSpec", store: "Store", given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The exit code of a launch, and its facts."""
    from grid.run.launch import launch as run_launch
    from grid.run.options import Execution, costs
    from grid.run.wording import outcome_facts, outcome_text

    about_run = ("shard_size", "quiet")
    shard_size, quiet = (given[name] for name in about_run)
    execution = Execution(**{name: value for name, value in given.items() if name not in about_run})
    with redirect_stdout(sys.stderr):  # Ray prints its warnings to stdout, where only the result belongs
        plan, outcome = run_launch(
            spec, store, execution.open_executor, execution.settings(store), shard_size, costs(store), quiet=quiet
        )
    click.echo(outcome_text(spec.name, store.location, plan, outcome), err=True)
    return outcome.exit_code, outcome_facts(spec.name, store.location, plan, outcome)


def _status(location: str, form: str, *, clear: bool) -> bool:
    from grid.results.contents import connect
    from grid.results.query import is_complete, status
    from grid.results.tables import render
    from grid.store.store import Store

    connection = connect(Store.existing(location), Broken())
    rows = status(connection)
    if clear and sys.stdout.isatty():
        click.clear()
    click.echo(render(rows, form))
    return not is_complete(connection)


def _grids(store: "Store", chosen: str | None) -> list[str]:
    names = store.grids.names()
    if chosen is None:
        return names
    if chosen not in names:
        raise UsageError(f"no grid {chosen!r} in {store.location}. There are: {', '.join(names) or 'none'}")
    return [chosen]


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=1))
