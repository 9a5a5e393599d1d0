"""What is wanted minus what is stored. Pure: the caller brings both. Knows nothing of files, Ray or time."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from grid.plan.expand import Wanted, WantedCell
from grid.ranges import Range, num_shards, subtract
from tasks.cases import Case
from tasks.config import Cell
from tasks.needs import is_prepared


class CaseWork(NamedTuple):
    """A case that is not complete, the positions of its sample order that are missing, and whether to prepare first."""

    case: Case
    samples: int
    missing: Sequence[Range]
    prepare: bool = False


@dataclass(slots=True)
class CellWork:
    """A cell that is to be trained, or of which cases are incomplete.

    `base` is the id of the cell that has to be there before. `traced` are probes of every epoch of the training: for
    them a cell that is there is trained once more.
    """

    cell: Cell
    train: bool
    cases: list[CaseWork] = field(default_factory=list)
    base: str | None = None
    traced: list[CaseWork] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What there is to do, and the counts that `attackgrid plan` prints."""

    cells: int
    cases: int
    cells_to_train: int
    attacks_to_prepare: int
    samples_wanted: int
    samples_stored: int
    shards_to_run: int
    work: list[CellWork]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.work


class Stored(NamedTuple):
    """What is there, as questions: positions of a case, whether a cell is trained, what an attack's prepare step makes.

    `is_empty`: there is nothing at all, and no other question needs to be asked.
    """

    positions: Callable[[Case], Iterable[Range]]
    trained: Callable[[Cell], bool]
    prepared: Callable[[Case], bool]
    is_empty: bool = False


NOTHING = Stored(lambda _: (), lambda _: False, lambda _: False, is_empty=True)
"""An empty store."""


def make_plan(wanted: Iterable[WantedCell], stored: Stored, shard_size: int) -> Plan:
    """Subtract the stored positions of every wanted case, and the trained cells from those wanted.

    Work keeps the order of the spec.
    """
    count = _Counter(stored, shard_size)
    work = [made for each in wanted if (made := count.cell(each))]
    return Plan(
        cells=count.cells,
        cases=count.cases,
        cells_to_train=sum(each.train for each in work),
        attacks_to_prepare=len(count.to_prepare),
        samples_wanted=count.samples_wanted,
        samples_stored=count.samples_wanted - count.samples_missing,
        shards_to_run=count.shards,
        work=work,
    )


class _Counter:
    """Makes the work of one cell after the other, and counts."""

    def __init__(self, stored: Stored, shard_size: int) -> None:
        self._stored, self._shard_size = stored, shard_size
        self.cells = self.cases = self.samples_wanted = self.samples_missing = self.shards = 0
        self.to_prepare: set[str] = set()

    def cell(self, wanted: WantedCell) -> CellWork | None:
        """What there is to do for a cell; None if nothing."""
        self.cells += 1
        work = CellWork(wanted.cell, train=not self._stored.trained(wanted.cell))
        for each in wanted.cases():
            self.cases += 1
            self.samples_wanted += each.samples
            if missing := self._missing(each):
                self.samples_missing += sum([stop - start for start, stop in missing])
                self._add(work, each, missing)
        if work.train and wanted.base:
            work.base = wanted.base.cell.id
        return work if work.train or work.cases else None

    def _missing(self, wanted: Wanted) -> Sequence[Range]:
        if self._stored.is_empty:
            return _all(wanted.samples)
        return subtract(wanted.samples, self._stored.positions(wanted.case))

    def _add(self, work: CellWork, wanted: Wanted, missing: Sequence[Range]) -> None:
        case = wanted.case
        if case.is_traced:
            work.train = True
            work.traced.append(CaseWork(case, wanted.samples, missing))
            return
        prepare = is_prepared(case) and not self._stored.prepared(case)
        if prepare:
            self.to_prepare.add(case.prepared_id)
        work.cases.append(CaseWork(case, wanted.samples, missing, prepare))
        self.shards += num_shards(missing, self._shard_size)


@lru_cache(maxsize=1_000)
def _all(samples: int) -> tuple[Range, ...]:
    """One object for all cases that lack as many."""
    return tuple(subtract(samples, ()))
