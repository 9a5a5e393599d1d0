"""How a grid is executed, as the command line gives it: where, on what, in which batches. Changes no random draw."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from grid.errors import ForeignFileError
from grid.plan.costs import Costs
from grid.results.contents import connect, known_costs
from grid.run.executor import Executor, InlineExecutor
from grid.store.store import Store
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
        """What workers need to know. Without a data root, the user's cache is meant."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "attackgrid"
        return Settings(
            store=store.absolute_location,
            data_root=str((self.data_root or cache).expanduser().absolute()),
            run_id="",
            download=self.download,
            batch_size=self.batch_size,
            fixed_batch=self.fixed_batch,
        )

    def open_executor(self) -> Executor:
        """In this process, on a Ray of its own, or on one that is joined. Raises ClusterError."""
        if self.address == "inline":
            from grid.work.worker import settle

            settle(threads=self.cpus)
            return InlineExecutor()
        sys.stderr.write(f"starting workers (Ray: {self.address}) ...\n")
        from grid.run import ray_executor

        if self.address == "local":
            return ray_executor.start_local(self.cpus, self.gpus, self.gpu_fraction, pretend=self.pretend_gpus)
        return ray_executor.join(self.address, self.cpus, self.gpus, self.gpu_fraction)


def costs(store: Store) -> Costs:
    """What trainings and samples have cost in a store; nothing is known of one that is not there, or not whole."""
    with suppress(ForeignFileError):
        return known_costs(connect(store, lambda *_: None)) if store.exists() else Costs()
    return Costs()
