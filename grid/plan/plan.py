"""What is wanted minus what is stored. Pure: the caller brings both. Knows nothing of files, Ray or time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from grid.plan.expand import Wanted
from grid.ranges import Range, num_shards, subtract
from tasks.config import Case, Cell, ProbeCase


class CaseWork(NamedTuple):
    """A case that is not complete, the positions of its sample order that are missing, and whether to prepare first."""

    case: Case | ProbeCase
    samples: int
    missing: list[Range]
    prepare: bool = False


@dataclass
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


def make_plan(
    wanted: Iterable[Wanted],
    cells: Iterable[Cell],
    stored: Callable[[Case | ProbeCase], Iterable[Range]],
    trained: Callable[[Cell], bool],
    prepared: Callable[[Case | ProbeCase], bool],
    shard_size: int,
    base: Callable[[Cell], Cell | None] = lambda _: None,
) -> Plan:
    """Subtract the stored positions of every wanted case, and the trained cells from those wanted.

    `cells` are all cells, also those without a case; `base` is the one that has to be trained before another;
    `prepared` tells of a case whether what its attack's prepare step makes is there, or is not needed. Work keeps the
    order of the spec.
    """
    work = {cell.id: CellWork(cell, train=not trained(cell)) for cell in cells}
    for each in work.values():
        before = base(each.cell) if each.train else None
        each.base = before.id if before else None
    to_prepare: set[str] = set()
    num_cases = samples_wanted = samples_missing = shards = 0
    for item in wanted:
        missing = subtract(item.samples, stored(item.case))
        num_cases += 1
        samples_wanted += item.samples
        if missing and isinstance(item.case, ProbeCase) and item.case.probe.epochs == "each":
            tracing = work[item.case.cell.id]
            tracing.train = True
            tracing.traced.append(CaseWork(item.case, item.samples, missing))
            samples_missing += sum(r.stop - r.start for r in missing)
        elif missing:
            prepare = not prepared(item.case)
            work[item.case.cell.id].cases.append(CaseWork(item.case, item.samples, missing, prepare))
            samples_missing += sum(r.stop - r.start for r in missing)
            shards += num_shards(missing, shard_size)
            if prepare and isinstance(item.case, Case):
                to_prepare.add(item.case.prepared_id)
    return Plan(
        cells=len(work),
        cases=num_cases,
        cells_to_train=sum(w.train for w in work.values()),
        attacks_to_prepare=len(to_prepare),
        samples_wanted=samples_wanted,
        samples_stored=samples_wanted - samples_missing,
        shards_to_run=shards,
        work=[w for w in work.values() if w.train or w.cases],
    )
