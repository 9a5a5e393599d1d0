"""GridSpec -> cells and cases, lazily, all the cases of a cell together.

Pure. Knows nothing of YAML, of files or of what is stored. A grid of a million cases is walked, never held.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from grid.blocks import CELL_KINDS, Block, GridSpec, Published, WantedAttack
from grid.component_spec import defaults
from grid.rules import RuleIndex, Subject
from tasks import registry
from tasks.config import Attack, Case, Cell, Component, Json


@dataclass(frozen=True)
class Wanted:
    """A case that a grid asks for, the first `samples` of its order, and the labels of the blocks that ask."""

    case: Case
    samples: int
    variant: str


class Candidate(NamedTuple):
    """One thing a block asks for before exclusion: an attack on a cell, or (None) the cell by itself."""

    cell: Cell
    wanted: WantedAttack | None
    variant: str

    @property
    def source(self) -> Cell | None:
        """The cell that the attack looks at, if that is another one."""
        if self.wanted is None or not self.wanted.source:
            return None
        changed: dict[str, Any] = dict(self.wanted.source)
        source = replace(self.cell, **changed)
        return None if source == self.cell else source

    @property
    def subject(self) -> Subject:
        """What rules select it by."""
        return Subject(self.cell, self.wanted.attack if self.wanted else None, self.source, self.variant)


def expand(spec: GridSpec) -> Iterator[Wanted]:
    """Every wanted case once, cell by cell: the union of labels and the most samples where blocks overlap."""
    for cell, asked in _allowed(spec):
        found: dict[str, Wanted] = {}
        for item in asked:
            if item.wanted is not None:
                case = Case(cell, _fitted(item.wanted.attack, cell, item.source), spec.samples.order, item.source)
                wanted = Wanted(case, num_samples(spec, item.wanted, cell.dataset), item.variant)
                known = found.get(case.id)
                found[case.id] = _join(known, wanted) if known else wanted
        yield from found.values()


def cells(spec: GridSpec) -> Iterator[Cell]:
    """Every wanted cell once, also one that no attack is asked of, or that an attack on another one looks at.

    Not one whose every case is excluded.
    """
    sources: dict[str, Cell] = {}
    for cell, asked in _allowed(spec):
        sources.update({item.source.id: item.source for item in asked if item.source})
        yield cell
    if sources:
        own = {cell.id for cell, _ in _allowed(spec)}
        yield from (cell for cell in sources.values() if cell.id not in own)


def published_cases(spec: GridSpec) -> Iterator[tuple[Published, Wanted]]:
    """Every published value with every case it is about."""
    index = RuleIndex([published.rule for published in spec.published])
    for wanted in expand(spec) if spec.published else ():
        for number in _about(index, wanted):
            yield spec.published[number], wanted


def needs_preparing(case: Case) -> bool:
    """Whether the attack of a case has a prepare step."""
    return bool(registry.describe("attack", case.attack.component.name).facts.get("prepared"))


def axes(thing: Case | Cell) -> dict[str, Json]:
    """The columns of `tasks.schema.WANTED` that say what a case or a cell is; an attack's are null for a cell."""
    cell, attack = (thing.cell, thing.attack) if isinstance(thing, Case) else (thing, None)
    budget = attack.budget if attack else None
    source = thing.source if isinstance(thing, Case) else None
    return {
        **{kind: getattr(cell, kind).name for kind in CELL_KINDS if kind != "training"},
        "seed": cell.seed,
        "attack": attack.name if attack else None,
        "norm": budget.norm if budget else None,
        "eps": budget.eps if budget else None,
        "eps_label": attack.eps_label if attack and attack.eps_label else None,
        "space": budget.space if budget else None,
        "box": budget.box if budget else None,
        "source": _source_label(cell, source) if source else None,
        "source_cell_id": source.id if source else None,
        "cell_label": _cell_label(cell),
        "attack_label": _attack_label(attack, cell, source) if attack else None,
    }


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


def num_samples(spec: GridSpec, wanted: WantedAttack, dataset: Component) -> int:
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


def _cell_label(cell: Cell) -> str:
    parts = [_label(getattr(cell, kind), []) for kind in CELL_KINDS if kind != "training"]
    training = ", ".join(_changed(cell.training))
    return " / ".join([*parts, *([training] if training else []), f"seed {cell.seed}"])


def _attack_label(attack: Attack, cell: Cell, source: Cell | None) -> str:
    budget = attack.budget
    described = registry.describe("attack", attack.component.name)
    own = [
        *([f"eps={attack.eps_label or budget.eps}"] if budget.eps is not None else []),
        *([f"norm={budget.norm}"] if budget.norm != described.facts["norms"][0] else []),
        *([f"space={budget.space}"] if budget.space != "pixel" else []),
        *(["box=false"] if not budget.box else []),
        *([f"targets={_classes(attack.targets)}"] if attack.targets is not None else []),
        *([f"eot={attack.eot}"] if attack.eot > 1 else []),
        *([f"draws={attack.draws}"] if attack.draws > 1 else []),
        *(["attacked=all"] if attack.attacked == "all" else []),
        *([f"source={_source_label(cell, source)}"] if source else []),
    ]
    if not attack.then:
        return _label(attack.component, own)
    members = "" if attack.title else " then ".join(_label(member.component, []) for member in attack.chain)
    said = ", ".join([*own, *([members] if members else [])])
    return f"{attack.name}({said})"


def _classes(targets: tuple[int, ...] | str) -> str:
    return targets if isinstance(targets, str) else json.dumps(list(targets))


def _source_label(cell: Cell, source: Cell) -> str:
    """In what the cell that an attack looks at differs from its own."""
    parts = [_label(getattr(source, kind), []) for kind in CELL_KINDS if getattr(source, kind) != getattr(cell, kind)]
    return " / ".join([*parts, *([f"seed {source.seed}"] if source.seed != cell.seed else [])])


def _label(component: Component, own: list[str]) -> str:
    said = ", ".join([*own, *_changed(component)])
    return f"{component.name}({said})" if said else component.name


def _changed(component: Component) -> list[str]:
    """The parameters that are not defaults, as a spec would spell them."""
    usual = defaults(component.kind, component.name)
    given = component.parameters.items()
    return [
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in given
        if name not in usual or value != usual[name]
    ]


def _fitted(attack: Attack, cell: Cell, source: Cell | None) -> Attack:
    """The attack as it concerns a cell: draws are of no matter to a model that draws nothing."""
    if attack.eot > 1 and not _is_stochastic(source or cell):
        attack = replace(attack, eot=1, then=tuple(replace(member, eot=1) for member in attack.then))
    if attack.draws > 1 and not _is_stochastic(cell):
        attack = replace(attack, draws=1, then=tuple(replace(member, draws=1) for member in attack.then))
    return attack


def _is_stochastic(cell: Cell) -> bool:
    """Whether a part of the cell says that its model draws numbers when it evaluates."""
    return any(registry.describe(kind, getattr(cell, kind).name).facts.get("stochastic") for kind in CELL_KINDS)


def _join(first: Wanted, second: Wanted) -> Wanted:
    labels = dict.fromkeys([*first.variant.split(", "), second.variant])
    return Wanted(first.case, max(first.samples, second.samples), ", ".join(filter(None, labels)))


def _about(index: RuleIndex, wanted: Wanted) -> set[int]:
    """Positions of the rules that select a case under any of its variants, which a joined label lists."""
    labels = {wanted.variant, *wanted.variant.split(", ")}
    case = wanted.case
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
    return [Candidate(cell, wanted, block.variant) for wanted in block.attacks or (None,)]
