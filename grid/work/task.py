"""Tasks and what becomes of them, as frozen data that travels to a worker and back.

Light, so that the driver need not import torch. Knows nothing of how a task is done.
"""

from dataclasses import dataclass
from typing import Literal

from grid.ranges import Range
from tasks.cases import Case
from tasks.config import Cell

Kind = Literal["train", "prepare", "attack", "probe", "merge"]


@dataclass(frozen=True)
class Settings:
    """How tasks are executed. Nothing here is in an id; `fixed_batch` alone can move the last bit of a float."""

    store: str
    data_root: str
    run_id: str
    download: bool = False
    batch_size: int = 256
    fixed_batch: int | None = None


@dataclass(frozen=True)
class Task:
    """Train a cell, prepare the attack of a case, attack or probe a shard of it, or merge its files.

    `traced` are the probes that a training makes after each of its epochs, with how many samples each wants.
    """

    kind: Kind
    cell: Cell
    case: Case | None = None
    positions: Range | None = None
    traced: tuple[tuple[Case, int], ...] = ()

    @property
    def id(self) -> str:
        """The cell's id, or the case's with the positions: names the folder of its failures."""
        if self.case is None:
            return self.cell.id
        if self.kind == "prepare":
            return self.case.prepared_id
        if self.positions is None:
            return self.case.id
        return f"{self.case.id}-{self.positions.start}-{self.positions.stop}"

    @property
    def is_shard(self) -> bool:
        """Whether its result is a file of a case's rows."""
        return self.kind in {"attack", "probe"}

    @property
    def samples(self) -> int:
        """How many samples it attacks or probes."""
        own = self.positions.stop - self.positions.start if self.positions else 0
        return own + sum(count for _, count in self.traced)


@dataclass(frozen=True)
class Done:
    """A task whose result is in the store."""

    seconds: float


@dataclass(frozen=True)
class Failed:
    """A task that left no result. `kind`: "error" (it raised), "store" (the store refused), "worker" (it was lost)."""

    kind: Literal["error", "store", "worker"]
    error: str
    message: str
    traceback: str = ""
    host: str = ""
