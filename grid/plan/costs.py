"""What work has cost, and what the rest of a plan may be expected to. Pure: knows nothing of time or who measured."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from grid.plan.plan import Plan
from tasks.cases import Case
from tasks.config import Cell

CostKey = tuple[str, ...]


def cost_key(thing: Case | Cell) -> CostKey:
    """What tasks must share to be expected to cost the same: attack, architecture, dataset; or the latter two."""
    if not isinstance(thing, Cell):
        return (thing.name, *cost_key(thing.cell))
    return (thing.architecture.name, thing.dataset.name)


@dataclass
class Costs:
    """Seconds per sample of each kind of case, per training of each kind of cell: known beforehand, then measured."""

    seconds: dict[CostKey, float] = field(default_factory=lambda: defaultdict(float))
    units: dict[CostKey, float] = field(default_factory=lambda: defaultdict(float))
    guesses: dict[CostKey, float] = field(default_factory=dict)
    """Seconds of a training that is still running, by what its epochs have cost."""

    def add(self, key: CostKey, seconds: float, units: float) -> None:
        """One more measurement."""
        self.seconds[key] += seconds
        self.units[key] += units

    def expect(self, left: Mapping[CostKey, float]) -> tuple[float, bool]:
        """Seconds of work left, and whether every kind in it has been measured; unmeasured kinds count nothing."""
        known = {key: n for key, n in left.items() if n and (self.units.get(key) or key in self.guesses)}
        total = sum(n * self._each(key) for key, n in known.items())
        return total, len(known) == sum(1 for n in left.values() if n)

    def _each(self, key: CostKey) -> float:
        return self.seconds[key] / self.units[key] if self.units.get(key) else self.guesses[key]


def work_left(plan: Plan) -> dict[CostKey, float]:
    """Trainings and samples to do, by kind."""
    left: dict[CostKey, float] = defaultdict(float)
    for work in plan.work:
        left[cost_key(work.cell)] += work.train
        for case in work.cases:
            left[cost_key(case.case)] += sum(r.stop - r.start for r in case.missing)
    return left
