"""How a grid is executed, as the command line gives it: where, on what, in which batches. Changes no random draw."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from grid.errors import ForeignFileError, MissingError
from grid.plan.costs import Costs
from grid.results.contents import connect, known_costs
from grid.run.executor import Executor, InlineExecutor
from grid.store.store import Store
from grid.work.requirements import Requirements, lacking, unknown_data
from grid.work.task import Settings

# ruff: noqa: PLC0415 - Ray and torch are imported by the executor that needs them


@dataclass(frozen=True)
class Execution:
    """The options of `launch` and `resume` by their names there."""

    address: str
    cpus: int | None
    gpus: int | None
    gpu_fraction: float
    pretend_gpus: bool
    data_root: Path | None
    download: bool
    batch_size: int
    fixed_batch: int | None

    def settings(self, store: Store) -> Settings:
        """What workers need to know."""
        return Settings(
            store=store.absolute_location,
            data_root=data_root(self.data_root),
            run_id="",
            download=self.download,
            batch_size=self.batch_size,
            fixed_batch=self.fixed_batch,
        )

    def open_executor(self, required: Requirements) -> Executor:
        """In this process, on a Ray of its own, or on one that is joined. Raises ClusterError.

        Raises MissingError where this machine, or every worker of a Ray that is joined, lacks what is required.
        """
        if self.address in {"inline", "local"}:
            _refuse_missing(required)
        if self.address == "inline":
            from grid.work.worker import settle

            settle(threads=self.cpus)
            return InlineExecutor()
        sys.stderr.write(f"starting workers (Ray: {self.address}) ...\n")
        from grid.run import ray_executor

        if self.address == "local":
            return ray_executor.start_local(self.cpus, self.gpus, self.gpu_fraction, pretend=self.pretend_gpus)
        return ray_executor.join(self.address, self.cpus, self.gpus, self.gpu_fraction, required)


def data_root(given: Path | None) -> str:
    """Where datasets lie: without a place given, in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "attackgrid"
    return str((given or cache).expanduser().absolute())


def _refuse_missing(required: Requirements) -> None:
    """Raise MissingError with all that this machine lacks; say what of its data is not the published."""
    if lacks := lacking(required):
        raise MissingError(lacks)
    for line in unknown_data(required):
        sys.stderr.write(f"warning: {line}\n")


def costs(store: Store) -> Costs:
    """What trainings and samples have cost in a store; nothing is known of one that is not there, or not whole."""
    with suppress(ForeignFileError):
        return known_costs(connect(store, lambda *_: None)) if store.exists() else Costs()
    return Costs()
