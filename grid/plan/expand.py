"""GridSpec -> cells and cases, lazily, all the cases of a cell together.

Pure. Knows nothing of YAML, of files or of what is stored. A grid of a million cases is walked, never held.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from grid.plan.asked import Block, GridSpec, Published, WantedAttack, WantedProbe
from grid.plan.rule_index import RuleIndex, Subject
from tasks import registry
from tasks.config import CELL_PARTS, Attack, Case, Cell, Component, ProbeCase
from tasks.needs import base_of


@dataclass(frozen=True)
class Wanted:
    """A case that a grid asks for, the first `samples` of its order, and the labels of the blocks that ask."""

    case: Case | ProbeCase
    samples: int
    variant: str


class Candidate(NamedTuple):
    """One thing a block asks for before exclusion: an attack on a cell, a probe of it, or (None) the cell by itself."""

    cell: Cell
    wanted: WantedAttack | WantedProbe | None
    variant: str

    @property
    def source(self) -> Cell | None:
        """The cell that the attack or probe looks at, if that is another one."""
        if self.wanted is None or not self.wanted.source:
            return None
        changed: dict[str, Any] = dict(self.wanted.source)
        source = replace(self.cell, **changed)
        return None if source == self.cell else source

    @property
    def subject(self) -> Subject:
        """What rules select it by."""
        match self.wanted:
            case WantedAttack(attack):
                return Subject(self.cell, attack, self.source, self.variant)
            case WantedProbe(probe):
                return Subject(self.cell, None, self.source, self.variant, probe)
        return Subject(self.cell, None, None, self.variant)

    def case(self, spec: GridSpec) -> Case | ProbeCase | None:
        """What it comes to, if it is not a cell by itself."""
        match self.wanted:
            case WantedAttack(attack):
                return Case(self.cell, _fitted(attack, self.cell, self.source), spec.samples.order, self.source)
            case WantedProbe(probe):
                return ProbeCase(self.cell, probe, spec.samples.order, self.source)
        return None


def expand(spec: GridSpec) -> Iterator[Wanted]:
    """Every wanted case once, cell by cell: the union of labels and the most samples where blocks overlap."""
    for cell, asked in _allowed(spec):
        found: dict[str, Wanted] = {}
        for item in asked:
            case = item.case(spec)
            if item.wanted is not None and case is not None:
                wanted = Wanted(case, num_samples(spec, item.wanted, cell.dataset), item.variant)
                known = found.get(case.id)
                found[case.id] = _join(known, wanted) if known else wanted
        yield from found.values()


def cells(spec: GridSpec) -> Iterator[Cell]:
    """Every wanted cell once, also one that nothing is asked of, then those that only other cells need.

    Not one whose every case is excluded.
    """
    yield from asked_cells(spec)
    yield from needed_cells(spec)


def asked_cells(spec: GridSpec) -> Iterator[Cell]:
    """Every cell that a block asks for, once."""
    return (cell for cell, _ in _allowed(spec))


def needed_cells(spec: GridSpec) -> Iterator[Cell]:
    """The cells that no block asks for, but that another one is attacked or trained with."""
    found: dict[str, Cell] = {}
    for cell, asked in _allowed(spec):
        sources = {item.source.id: item.source for item in asked if item.source}
        for each in (cell, *sources.values()):
            found.update(_trained_before(each))
        found.update(sources)
    if found:
        own = {cell.id for cell in asked_cells(spec)}
        yield from (cell for cell in found.values() if cell.id not in own)


def published_cases(spec: GridSpec) -> Iterator[tuple[Published, Wanted]]:
    """Every published value with every case it is about."""
    index = RuleIndex([published.rule for published in spec.published])
    for wanted in expand(spec) if spec.published else ():
        for number in _about(index, wanted):
            yield spec.published[number], wanted


def needs_preparing(case: Case | ProbeCase) -> bool:
    """Whether the attack of a case has a prepare step."""
    return isinstance(case, Case) and bool(
        registry.describe("attack", case.attack.component.name).facts.get("prepared")
    )


def unused_rules(spec: GridSpec) -> tuple[list[int], list[int]]:
    """Positions of the exclusions that exclude nothing, and of the published values that are about no case."""
    exclude, published = set(range(len(spec.exclude))), set(range(len(spec.published)))
    index = RuleIndex(spec.exclude)
    for _, asked in _candidates(spec) if exclude else ():
        for item in asked:
            exclude.difference_update(index.matching(item.subject))
    index = RuleIndex([value.rule for value in spec.published])
    for wanted in expand(spec) if published else ():
        published.difference_update(_about(index, wanted))
    return sorted(exclude), sorted(published)


def num_samples(spec: GridSpec, wanted: WantedAttack | WantedProbe, dataset: Component) -> int:
    """How many samples a case wants: never more than the dataset's test split has."""
    size = split_size(dataset)
    asked = wanted.samples or spec.samples.count or size
    if asked is None:
        raise ValueError(f"dataset {dataset.name!r} does not declare how many samples it has")
    return min(asked, size) if size else asked


def split_size(dataset: Component) -> int | None:
    """The number of samples of a dataset's test split, as its component declares it in the fact `samples`."""
    size: int | None = registry.describe("dataset", dataset.name).facts.get("samples")
    return size


def _fitted(attack: Attack, cell: Cell, source: Cell | None) -> Attack:
    """The attack as it concerns a cell: draws are of no matter to a model that draws nothing."""
    if attack.eot > 1 and not _is_stochastic(source or cell):
        attack = replace(attack, eot=1, then=tuple(replace(member, eot=1) for member in attack.then))
    if attack.draws > 1 and not _is_stochastic(cell):
        attack = replace(attack, draws=1, then=tuple(replace(member, draws=1) for member in attack.then))
    return attack


def _is_stochastic(cell: Cell) -> bool:
    """Whether a part of the cell says that its model draws numbers when it evaluates."""
    return any(_draws(part) for kind in CELL_PARTS for part in getattr(cell, kind).parts)


def _draws(component: Component) -> bool:
    """Whether a component says that it draws: always, or under one of some values of a parameter."""
    said = registry.describe(component.kind, component.name).facts.get("stochastic", False)
    if isinstance(said, bool):
        return said
    return any(component.parameters.get(name) in values for name, values in said.items())


def _trained_before(cell: Cell) -> dict[str, Cell]:
    """The cells, by id, that have to be there before one can be trained."""
    found: dict[str, Cell] = {}
    base = base_of(cell)
    while base:
        found[base.cell.id] = base.cell
        base = base_of(base.cell)
    return found


def _join(first: Wanted, second: Wanted) -> Wanted:
    labels = dict.fromkeys([*first.variant.split(", "), second.variant])
    return Wanted(first.case, max(first.samples, second.samples), ", ".join(filter(None, labels)))


def _about(index: RuleIndex, wanted: Wanted) -> set[int]:
    """Positions of the rules that select a case under any of its variants, which a joined label lists."""
    case = wanted.case
    if isinstance(case, ProbeCase):
        return set()
    labels = {wanted.variant, *wanted.variant.split(", ")}
    subjects = (Subject(case.cell, case.attack, case.source, label) for label in labels)
    return {number for subject in subjects for number in index.matching(subject)}


def _allowed(spec: GridSpec) -> Iterator[tuple[Cell, list[Candidate]]]:
    """Every cell that is still asked for after exclusion, with what is asked of it."""
    index = RuleIndex(spec.exclude)
    for cell, asked in _candidates(spec):
        left = [item for item in asked if not index.matching(item.subject)]
        if left:
            yield cell, left


def _candidates(spec: GridSpec) -> Iterator[tuple[Cell, list[Candidate]]]:
    """Every distinct cell with what all the blocks ask of it, at the first block that has it."""
    shared = _shared_cells(spec.blocks)
    for number, block in enumerate(spec.blocks):
        for cell in _product(block):
            places = shared.get(cell.id, [number]) if shared else [number]
            if places[0] == number:
                yield cell, [item for place in places for item in _asked(cell, spec.blocks[place])]


def _shared_cells(blocks: Iterable[Block]) -> dict[str, list[int]]:
    """The blocks of each cell that several blocks have. A block by itself has no cell twice."""
    blocks = list(blocks)
    if len(blocks) < 2:
        return {}
    first: dict[str, int] = {}
    shared: dict[str, list[int]] = {}
    for number, block in enumerate(blocks):
        for cell in _product(block):
            if first.setdefault(cell.id, number) != number:
                shared.setdefault(cell.id, [first[cell.id]]).append(number)
    return shared


def _product(block: Block) -> Iterator[Cell]:
    parts = (
        block.datasets,
        block.architectures,
        block.activations,
        block.heads,
        block.defenses,
        block.trainings,
        block.seeds,
    )
    return (Cell(*chosen) for chosen in itertools.product(*parts))


def _asked(cell: Cell, block: Block) -> list[Candidate]:
    wanted: tuple[WantedAttack | WantedProbe, ...] = (*block.attacks, *block.probes)
    return [Candidate(cell, each, block.variant) for each in wanted or (None,)]
