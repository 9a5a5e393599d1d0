"""The command about somebody's own component: test."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from grid.cli.options import data_root_option, json_option
from grid.cli.output import Output

if TYPE_CHECKING:
    from tasks.contracts.suite import Verdict

# ruff: noqa: PLC0415 - the command imports what it needs: --help must not wait for torch


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--kind", help="Of which kind NAME is, where there is one of several.")
@click.option("--set", "given", multiple=True, metavar="PARAMETER=VALUE", help="A value in place of the default.")
@data_root_option
@json_option
def test(name: str, kind: str | None, given: Sequence[str], data_root: Path | None, as_json: bool) -> NoReturn:
    """Ask the component NAME, `package.module:function` or a built-in one, to keep every promise of its kind.

    A line for each: kept, broken and why, or skipped, where it cannot be asked, and why. Runs the component. A module
    is found where Python finds it, or in the current directory.
    """
    from grid.run.options import data_root as place_of
    from grid.spec.subjects import subject_of
    from tasks.contracts.suite import examine
    from tasks.sources import search_here

    search_here()
    subject = subject_of(name, kind, given, Path(place_of(data_root)))
    verdicts = []
    for verdict in examine(subject):
        click.echo(_line(verdict), err=as_json)
        verdicts.append(verdict)
    counts = Counter(verdict.outcome for verdict in verdicts)
    code = 5 if counts["broken"] else 0
    totals = {outcome: counts[outcome] for outcome in ("kept", "broken", "skipped")}
    if as_json:
        about = {"kind": subject.kind, "name": name, "version": subject.described.version}
        found = [asdict(verdict) for verdict in verdicts]
        Output("json").write_object({"ok": not code, **about, **totals, "promises": found, "exit_code": code})
    else:
        click.echo(f"{subject.kind} {name}: {', '.join(f'{count} {word}' for word, count in totals.items())}", err=True)
    sys.exit(code)


def _line(verdict: "Verdict") -> str:
    said = f"{verdict.words.removesuffix('.')}: {verdict.why}" if verdict.why else verdict.words
    return f"{verdict.outcome:8} {' '.join(said.split())}"


COMMANDS = (test,)
