"""What a grid asks for that cannot go together, found by asking the components.

Each is asked once for all that its answer depends on, not once for every case; what rules exclude is no problem. Only
with `foreign` are components of other packages asked, which runs their code: that is for workers.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from grid.plan.asked import Block, GridSpec
from grid.plan.rule_index import CELL_LISTS, BlockIndex, Box
from tasks.cases import Attack, Probe
from tasks.config import CELL_PARTS, Component
from tasks.refusals import beyond_classes, depends_on, num_classes, reasons

Parts = Mapping[str, Sequence[Component]]


class Contradiction(NamedTuple):
    """What cannot be: the number of its block, what says so (a part of cells, or what is asked of them), and why."""

    block: int
    about: Component | Attack | Probe
    reason: str


def contradictions(spec: GridSpec, *, foreign: bool = False) -> Iterator[Contradiction]:
    """Everything that a grid asks for and that cannot be, as far as its components say."""
    for number, block in enumerate(spec.blocks):
        excluded = spec.selection.blocks[number].excluded if spec.selection else None
        look = BlockLook(block, excluded, foreign=foreign)
        for component, reason in look.of_parts(block.parts, None):
            yield Contradiction(number, component, reason)
        for position, asked in enumerate(block.asked):
            for reason in look.of_asked(position):
                yield Contradiction(number, asked.under, reason)


class BlockLook:
    """A look at one block. `excluded` has a byte for each (cell, thing asked), 1 where a rule excludes it."""

    def __init__(self, block: Block, excluded: bytearray | None, *, foreign: bool) -> None:
        self._block = block
        self._index = BlockIndex(block)
        self._excluded = excluded
        self._foreign = foreign

    def of_parts(self, parts: Parts, position: int | None) -> Iterator[tuple[Component, str]]:
        """The parts of cells that refuse, and why; `position`: of the one thing asked that they are about, if any."""
        for kind in CELL_PARTS:
            for place, component in enumerate(parts[kind]):
                needed = depends_on(component, foreign=self._foreign)
                for at, cell in combinations(parts, needed) if needed is not None else ():
                    for reason in reasons(component, cell, foreign=self._foreign):
                        if self.is_wanted({**at, kind: place}, parts, position):
                            yield component, _about(reason, cell, parts)

    def of_asked(self, position: int) -> Iterator[str]:
        """Why one of the things asked cannot be."""
        asked, parts = self._block.asked[position], self._block.parts
        for member in asked.under.chain if isinstance(asked.under, Attack) else [asked.under]:
            aims = isinstance(member, Attack) and isinstance(member.targets, tuple)
            needed = depends_on(member.component, foreign=self._foreign) or ()
            for at, cell in combinations(parts, [*needed, *(["dataset"] if aims else [])]):
                for reason in (*reasons(member.component, cell, member, foreign=self._foreign), *_aims(member, cell)):
                    if self.is_wanted(at, parts, position):
                        yield _about(reason, cell, parts)
        if asked.source:
            other = {kind: (part,) for kind, part in asked.source if isinstance(part, Component)}
            for component, reason in self.of_parts({**parts, **other}, position):
                yield f"its source cannot be: {component.kind} {component.name}: {reason}"

    def is_wanted(self, at: Mapping[str, int], parts: Parts, position: int | None) -> bool:
        """Whether a case that is not excluded has the parts that stand at these positions."""
        if self._excluded is None:
            return True
        own = {kind: place for kind, place in at.items() if parts[kind] is self._block.parts[kind]}
        lists = dict(zip(CELL_LISTS, self._block.axes, strict=True))
        chosen = tuple((own[name],) if name in own else range(len(values)) for name, values in lists.items())
        width = max(1, len(self._block.asked))
        asked = range(width) if position is None else (position,)
        cells = self._index.flat(Box(chosen, asked))
        return any(not self._excluded[cell * width + each] for cell in cells for each in asked)


def combinations(parts: Parts, kinds: Iterable[str]) -> Iterator[tuple[dict[str, int], dict[str, Component]]]:
    """Every choice of one component of each kind: their positions, and themselves."""
    named = [kind for kind in CELL_PARTS if kind in set(kinds)]
    for chosen in itertools.product(*(enumerate(parts[kind]) for kind in named)):
        places = dict(zip(named, chosen, strict=True))
        yield {kind: place for kind, (place, _) in places.items()}, {kind: part for kind, (_, part) in places.items()}


def _aims(member: Attack | Probe, cell: Mapping[str, Component]) -> list[str]:
    """What is wrong with the classes that an attack names, of a dataset that says how many it has."""
    if not isinstance(member, Attack) or "dataset" not in cell:
        return []
    classes = num_classes(cell["dataset"])
    wrong = beyond_classes(member, classes) if classes else ""
    return [wrong] if wrong else []


def _about(reason: str, cell: Mapping[str, Component], parts: Parts) -> str:
    """The reason, with what of several it is about."""
    named = [f"{kind} {component.name}" for kind, component in cell.items() if len(parts[kind]) > 1]
    return f"{reason} ({', '.join(named)})" if named else reason
