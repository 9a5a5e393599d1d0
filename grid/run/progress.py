"""How a run tells a person where it is: one live line on a terminal, plain lines elsewhere. Writes to stderr only.

Time left is the sum over what is left of what each kind of shard has cost so far (in this run, or in the store's
history), divided by the slots.
"""

import sys
import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

from grid.plan.costs import Costs, cost_key, work_left
from grid.plan.plan import Plan
from grid.run.ledger import Tally
from grid.work.task import Task
from tasks.config import Cell

PLAIN_LINE_SECONDS = 15.0
"""How often a plain line is written where stderr is no terminal."""
LIVE_TRAININGS_SECONDS = 2.0
"""How often a live line asks the store how far trainings are."""
_SHOWN = 4
"""Trainings that a line has room for."""

Training: TypeAlias = tuple[Cell, int, int, float]
"""A training that is running: the cell, its last epoch, of how many, and that epoch's seconds."""


class Progress:
    """Says what a run has done, and how long the rest may take."""

    def __init__(self, plan: Plan, costs: Costs, *, quiet: bool = False) -> None:
        self._plan = plan
        self._costs = costs
        self._left = work_left(plan)
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._begun = time.monotonic()
        self._said = self._asked = self._begun
        self._trainings: list[Training] = []

    def spent(self, task: Task, seconds: float) -> None:
        """A task is in the store: what it took is what others like it are expected to take."""
        if task.kind == "train":
            self._spent(cost_key(task.cell), seconds, 1)
        elif task.is_shard and task.case:
            self._spent(cost_key(task.case), seconds, task.samples)

    def tick(self, slots: int, tally: Tally, trainings: Callable[[], list[Training]] = list) -> None:
        """Say where the run is, if it is time to; `trainings` tells how far those are that are running."""
        now = time.monotonic()
        if not self._quiet and now - self._asked >= (LIVE_TRAININGS_SECONDS if self._live else PLAIN_LINE_SECONDS):
            self._asked = now
            self._trainings = trainings()
            guessed = {cost_key(cell): epochs * seconds for cell, _, epochs, seconds in self._trainings}
            self._costs.guesses.update(guessed)
        if not self._quiet and now - self._said >= (0.2 if self._live else PLAIN_LINE_SECONDS):
            self._said = now
            line = self.line(slots, tally)
            sys.stderr.write(f"\r\x1b[2K{line}" if self._live else f"{line}\n")
            sys.stderr.flush()

    def end(self) -> None:
        """Wipe the live line, so that what follows has the line to itself."""
        if self._live and not self._quiet:
            sys.stderr.write("\r\x1b[2K")

    def say(self, message: str) -> None:
        """One line to keep."""
        if not self._quiet:
            sys.stderr.write(f"\r\x1b[2K{message}\n" if self._live else f"{message}\n")
            sys.stderr.flush()

    def line(self, slots: int, tally: Tally) -> str:
        """Where the run is, in one line: what is done, with so many workers, and how long the rest may take."""
        plan = self._plan
        elapsed = max(time.monotonic() - self._begun, 1e-9)
        parts = [
            f"cells {tally.cells}/{plan.cells_to_train}{_epochs(self._trainings)}",
            *([f"prepared {tally.prepared}/{plan.attacks_to_prepare}"] if plan.attacks_to_prepare else []),
            f"shards {tally.shards}/{plan.shards_to_run}",
            f"samples {tally.samples}/{plan.samples_wanted - plan.samples_stored}",
            f"{tally.samples / elapsed:.1f} samples/s",
            f"{slots} worker{'s' if slots != 1 else ''}",
        ]
        if tally.failed:
            parts.append(f"{tally.failed} failed")
        return ", ".join([*parts, self._time_left(slots)])

    def _time_left(self, slots: int) -> str:
        seconds, all_known = self._costs.expect(self._left)
        if not seconds and not all_known:
            return "time left not known yet"
        return f"{'' if all_known else 'at least '}{duration(seconds / max(slots, 1))} left"

    def _spent(self, key: tuple[str, ...], seconds: float, units: int) -> None:
        self._costs.add(key, seconds, units)
        self._left[key] = max(0.0, self._left[key] - units)


def _epochs(trainings: Iterable[Training]) -> str:
    said = [f"{epoch}/{epochs}" for _, epoch, epochs, _ in trainings]
    more = ", ..." if len(said) > _SHOWN else ""
    return f" (epoch {', '.join(said[:_SHOWN])}{more})" if said else ""


def duration(seconds: float) -> str:
    """Such as 45s, 12m 05s, 3h 20m, 2d 4h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"
