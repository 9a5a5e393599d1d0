"""Commands about specs and what may stand in them: check, plan, list."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grid.cli.options import (
    data_root_option,
    json_option,
    output_option,
    printing_options,
    profile_option,
    set_option,
    shard_option,
    spec_options,
    store_option,
)
from grid.cli.output import Broken, Output, problem_facts
from grid.cli.spec_file import load
from grid.errors import UsageError

if TYPE_CHECKING:
    from grid.plan.asked import GridSpec

# ruff: noqa: PLC0415 - each command imports what it needs: --help must not wait for torch, Ray or DuckDB


@click.command(short_help="Validate SPEC and list every problem in it.")
@click.argument("spec", metavar="SPEC", required=False)
@click.option("--schema", is_flag=True, help="Print a JSON Schema of specs, for editors, instead.")
@profile_option
@set_option
@json_option
@output_option
def check(
    spec: str | None, schema: bool, profile: str | None, overrides: Sequence[str], as_json: bool, output: Path | None
) -> None:
    """Validate SPEC, a file or the name of a shipped spec, and list every problem in it. Runs no component."""
    out = Output.of(None, output, as_json=as_json)
    if schema:
        from grid.spec.json_schema import spec_schema

        out.write(json.dumps(spec_schema(), indent=1))
        return
    if spec is None:
        raise UsageError("check needs a SPEC, or --schema")
    from grid.plan.expand import expand

    counts = {"cells": 0, "cases": 0, "samples": 0}
    loaded = load(spec, profile, overrides)
    for wanted in expand(loaded):
        counts["cells"] += 1
        counts["cases"] += len(wanted.asks)
        counts["samples"] += wanted.num_samples
    if as_json:
        out.write_object({"ok": True, "name": loaded.name, **counts, "problems": [], **_warnings(loaded)})
    else:
        out.write(f"{spec}: ok: {counts['cells']} cells, {counts['cases']} cases, {counts['samples']} samples")


@click.command()
@spec_options
@store_option
@shard_option
@data_root_option
@json_option
@output_option
def plan(
    spec: str,
    store: str,
    profile: str | None,
    overrides: Sequence[str],
    shard_size: int,
    data_root: Path | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Say what a launch of SPEC would do, and what data it would miss here. Writes nothing."""
    from grid.plan.expand import expand
    from grid.plan.plan import make_plan
    from grid.plan.stored import stored_in
    from grid.run.options import costs
    from grid.run.options import data_root as place
    from grid.run.wording import plan_facts, plan_text
    from grid.store.store import Store
    from grid.work.requirements import missing_data, requirements, unknown_data

    loaded = load(spec, profile, overrides)
    opened = Store(store)
    broken = Broken(stays="a launch would set it aside and attack its samples again")
    made = make_plan(expand(loaded), stored_in(opened, broken), shard_size)
    required = requirements(made, place(data_root), download=False)
    facts = plan_facts(loaded.name, made, costs(opened), [*missing_data(required), *unknown_data(required)])
    out = Output.of(None, output, as_json=as_json)
    if as_json:
        out.write_object({**facts, **_warnings(loaded)})
    else:
        out.write(plan_text(facts))


def _warnings(loaded: "GridSpec") -> dict[str, Any]:
    return {"warnings": [problem_facts(warning) for warning in loaded.warnings]}


@click.command("list")
@click.argument("kind")
@click.argument("name", required=False)
@printing_options
def list_all(kind: str, name: str | None, form: str | None, as_json: bool, output: Path | None) -> None:
    """List what there is of KIND, or all that is known of the one called NAME.

    Kinds: datasets, architectures, activations, heads, defenses, trainings, attacks, probes; and specs: those that are
    shipped, which go by their names.
    """
    from grid.spec import listing

    out = Output.of(form, output, as_json=as_json)
    if name is None:
        out.write_rows(listing.rows(kind), kind=kind)
        return
    facts, parameters = listing.one(kind, name)
    if out.is_json:
        out.write_rows(parameters, **facts)
        return
    from grid.results.tables import render

    about = "\n".join(f"{key}: {value}" for key, value in facts.items() if key != "doc" and value)
    out.write("\n\n".join(filter(None, [about, str(facts["doc"]), render(parameters, out.form)])))


COMMANDS = (check, plan)
