"""What is wanted minus what is stored. Pure: the caller brings both. Knows nothing of files, Ray or time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from grid.expand import Wanted
from grid.ranges import Range, num_shards, subtract
from tasks.config import Case, Cell


class CaseWork(NamedTuple):
    """A case that is not complete, and the positions of its sample order that are missing."""

    case: Case
    samples: int
    missing: list[Range]


@dataclass
class CellWork:
    """A cell that is to be trained, or of which cases are incomplete."""

    cell: Cell
    train: bool
    cases: list[CaseWork] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What there is to do, and the counts that `attackgrid plan` prints."""

    cells: int
    cases: int
    cells_to_train: int
    samples_wanted: int
    samples_stored: int
    shards_to_run: int
    work: list[CellWork]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.work


def make_plan(
    wanted: Iterable[Wanted],
    cells: Iterable[Cell],
    stored: Callable[[Case], Iterable[Range]],
    trained: Callable[[Cell], bool],
    shard_size: int,
) -> Plan:
    """Subtract the stored positions of every wanted case, and the trained cells from those wanted.

    `cells` are all cells, also those without a case. Work keeps the order of the spec.
    """
    work = {cell.id: CellWork(cell, train=not trained(cell)) for cell in cells}
    num_cases = samples_wanted = samples_missing = shards = 0
    for item in wanted:
        missing = subtract(item.samples, stored(item.case))
        num_cases += 1
        samples_wanted += item.samples
        if missing:
            work[item.case.cell.id].cases.append(CaseWork(item.case, item.samples, missing))
            samples_missing += sum(r.stop - r.start for r in missing)
            shards += num_shards(missing, shard_size)
    return Plan(
        cells=len(work),
        cases=num_cases,
        cells_to_train=sum(w.train for w in work.values()),
        samples_wanted=samples_wanted,
        samples_stored=samples_wanted - samples_missing,
        shards_to_run=shards,
        work=[w for w in work.values() if w.train or w.cases],
    )
