"""What `import attackgrid` offers: specs that are checked and launched, stores that are asked."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from grid.errors import UsageError

# ruff: noqa: PLC0415 - Ray, torch and DuckDB are imported by what needs them


@dataclass(frozen=True)
class Outcome:
    """What a launch came to. `word`: complete, incomplete or interrupted; `facts`: what `launch --json` prints."""

    word: str
    exit_code: int
    facts: Mapping[str, Any]


class Store:
    """A store of results, opened for questions. Each question sees what is stored when it is asked."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        """Open the store at a folder or bucket. Raises StoreError where there is none."""
        from grid.store.store import Store as Opened

        self.location = os.fspath(location)
        self._store = Opened.existing(self.location)

    def __repr__(self) -> str:
        return f"attackgrid.Store({self.location!r}, grids={self.grids})"

    @property
    def grids(self) -> list[str]:
        """Names of the grids in it."""
        return self._store.grids.chosen(None)

    def table(
        self,
        name: str,
        *,
        grid: str | None = None,
        where: str | Sequence[str] = (),
        over: str | Sequence[str] = (),
    ) -> pa.Table:
        """One of the tables, as `attackgrid table` has it; with several grids, one after the other, and which.

        `where`: such as "head=softmax,attack.steps=10"; `over`: axes that are averaged over, such as "seed". Raises
        UsageError for an unknown name, grid or axis.
        """
        from grid.results.query import query

        names = self._store.grids.chosen(grid)
        if not names:
            raise UsageError(f"{self.location}: no grid has been launched here")
        connection = self._connect(grid, where)
        axes = [over] if isinstance(over, str) else over
        found = [query(connection, name, each, axes) for each in names]
        if len(found) == 1:
            return found[0]
        named = [
            rows.add_column(0, "grid", pa.repeat(pa.scalar(each), len(rows)))
            for each, rows in zip(names, found, strict=True)
        ]
        return pa.concat_tables(named)

    def sql(self, statement: str, *, grid: str | None = None, where: str | Sequence[str] = ()) -> pa.Table:
        """The answer to one statement that reads. Raises UsageError for any other, or where DuckDB refuses it."""
        from grid.results.query import run_sql

        return run_sql(self._connect(grid, where), statement)

    def _connect(self, grid: str | None, where: str | Sequence[str]) -> Any:  # noqa: ANN401 - DuckDB is not imported here
        from grid.results.contents import connect
        from grid.spec.rules import parse_where

        rule = parse_where([where] if isinstance(where, str) else where)
        return connect(self._store, _warn, rule, self._store.grids.chosen(grid))


def open(store: str | os.PathLike[str]) -> Store:  # noqa: A001 - as one opens a file
    """The store at a folder or bucket, which must be there. Raises StoreError."""
    return Store(store)


def check(spec: str | os.PathLike[str], *, profile: str | None = None, overrides: Sequence[str] = ()) -> dict[str, int]:
    """How many cells, cases and samples a spec (a file, or a shipped one's name) asks for.

    Raises SpecError with all that is wrong with it.
    """
    from grid.plan.expand import expand

    wanted = list(expand(_load(spec, profile, overrides)))
    return {
        "cells": len(wanted),
        "cases": sum(len(cell.asks) for cell in wanted),
        "samples": sum(cell.num_samples for cell in wanted),
    }


def launch(
    spec: str | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    address: str = "local",
    cpus: int | None = None,
    gpus: int | None = None,
    data_root: str | os.PathLike[str] | None = None,
    download: bool = False,
    shard_size: int = 100,
    quiet: bool = False,
) -> Outcome:
    """Do what a store lacks of a spec, as `attackgrid launch` does; again to resume.

    `address`: "local" (a Ray of its own), "inline" (this process), "auto" or HOST:PORT. Raises SpecError, StoreError,
    ClusterError, and MissingError where data or packages are missing; what fails in a task is in the outcome.
    """
    from grid.run.launch import launch as run_launch
    from grid.run.options import Execution, costs
    from grid.run.wording import outcome_facts
    from grid.store.store import Store as Opened

    loaded, opened = _load(spec, profile, overrides), Opened(os.fspath(store))
    root = data_root or os.environ.get("ATTACKGRID_DATA")
    execution = Execution(
        address=address,
        cpus=cpus,
        gpus=gpus,
        gpu_fraction=1.0,
        pretend_gpus=False,
        data_root=Path(root) if root else None,
        download=download,
        batch_size=256,
        fixed_batch=None,
    )
    plan, outcome = run_launch(
        loaded, opened, execution.open_executor, execution.settings(opened), shard_size, costs(opened), quiet=quiet
    )
    return Outcome(outcome.word, outcome.exit_code, outcome_facts(loaded.name, opened.location, plan, outcome))


def _load(spec: str | os.PathLike[str], profile: str | None, overrides: Sequence[str]) -> Any:  # noqa: ANN401 - a GridSpec
    from grid.spec.read import load_spec
    from grid.spec.shipped import path_of

    loaded = load_spec(path_of(os.fspath(spec)), profile=profile, overrides=overrides)
    if not all(table.is_plain for table in loaded.tables):
        from grid.results.asked import check_tables

        check_tables(loaded)
    for warning in loaded.warnings:
        warnings.warn(f"{spec}: {warning}", stacklevel=3)
    return loaded


def _warn(path: str, reason: str) -> None:
    warnings.warn(f"{path}: {reason}: passed over; launch again to redo its samples", stacklevel=4)
