"""A spec as the commands take it: a file or a shipped one's name, with its warnings said on stderr."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from grid.plan.asked import GridSpec

# ruff: noqa: PLC0415 - --help must not wait for what reads a spec


def load(spec: str, profile: str | None, overrides: Sequence[str]) -> "GridSpec":
    """The spec, judged. Raises SpecError, and UsageError where there is none of that name."""
    from grid.spec.read import load_spec
    from grid.spec.shipped import path_of

    loaded = load_spec(path_of(spec), profile=profile, overrides=overrides)
    if not all(table.is_plain for table in loaded.tables):
        from grid.results.asked import check_tables

        check_tables(loaded)
    for warning in loaded.warnings:
        click.echo(f"{spec}: warning: {warning}", err=True)
    return loaded
