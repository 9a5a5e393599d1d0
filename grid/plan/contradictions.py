"""What a grid asks for that cannot go together, found by asking the components.

Each is asked once for all that its answer depends on, not once for every case; what rules exclude is no problem. Only
with `foreign` are components of other packages asked, which runs their code: that is for workers.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from grid.plan.asked import Asked, Block, GridSpec
from grid.plan.rule_index import BlockIndex, Box
from grid.plan.selection import select
from tasks.cases import Attack, Probe
from tasks.config import CELL_LISTS, Component
from tasks.refusals import beyond_classes, depends_on, num_classes, reasons, shape_of

T = TypeVar("T")
Choices = Mapping[str, Sequence[Component | str]]
"""Of each kind of part of a cell, and of each of its settings, what there is to choose from."""
Places = Mapping[str, int]
"""Of each kind, or setting, that is concerned, the position of what is chosen."""

_SHOWN = 5
"""How many choices of parts a reason names."""


class Contradiction(NamedTuple):
    """What cannot be: the number of its block, what says so (a part of cells, or what is asked of them), and why."""

    block: int
    about: Component | Asked
    reason: str


def contradictions(spec: GridSpec, *, foreign: bool = False) -> Iterator[Contradiction]:
    """Everything that a grid asks for and that cannot be, as far as its components say."""
    selection = spec.selection or select(spec)
    for number, block in enumerate(spec.blocks):
        look = BlockLook(block, selection.blocks[number].excluded, foreign=foreign)
        for component, reason in look.of_parts():
            yield Contradiction(number, component, reason)
        for position, asked in enumerate(block.asked):
            for reason in look.of_asked(position):
                yield Contradiction(number, asked, reason)


class BlockLook:
    """A look at one block. `excluded` has a byte for each (cell, thing asked), 1 where a rule excludes it."""

    def __init__(self, block: Block, excluded: bytearray | None, *, foreign: bool) -> None:
        self._block = block
        self._index = BlockIndex(block)
        self._excluded = excluded
        self._foreign = foreign

    def of_parts(self) -> Iterator[tuple[Component, str]]:
        """The parts of cells that refuse, and why."""
        for kind, components in self._block.parts.items():
            for place, component in enumerate(components):
                for reason in self._reasons(component, self._block.choices, own={kind: place}):
                    yield component, reason

    def of_asked(self, position: int) -> Iterator[str]:
        """Why one of the things asked cannot be: a member of a cascade, its aim, its source."""
        asked, choices = self._block.asked[position], self._block.choices
        seen = self._block.choices_seen(asked) if isinstance(asked.under, Attack) else choices
        for member in asked.under.chain if isinstance(asked.under, Attack) else (asked.under,):
            yield from self._reasons(member.component, seen, under=member, position=position)
        if isinstance(asked.under, Attack) and asked.under.targets is not None:
            yield from self._aims(asked.under, position)
        yield from self._of_source(position)

    def is_wanted(self, at: Places, choices: Choices, position: int | None) -> bool:
        """Whether a case that is not excluded has what stands at these positions of the choices."""
        if self._excluded is None:
            return True
        own = {kind: place for kind, place in at.items() if choices[kind] is self._block.choices[kind]}
        lists = dict(zip(CELL_LISTS, self._block.axes, strict=True))
        chosen = tuple((own[name],) if name in own else range(len(values)) for name, values in lists.items())
        width = max(1, len(self._block.asked))
        asked = range(width) if position is None else (position,)
        cells = self._index.flat(Box(chosen, asked))
        return any(not self._excluded[cell * width + each] for cell in cells for each in asked)

    def _aims(self, attack: Attack, position: int) -> Iterator[str]:
        """What is wrong with the classes that an attack names, of datasets that say how many they have."""
        choices = self._block.choices
        for place, dataset in enumerate(self._block.parts["dataset"]):
            classes = num_classes(dataset)
            wrong = beyond_classes(attack, classes) if classes else ""
            if wrong and self.is_wanted({"dataset": place}, choices, position):
                yield _about(wrong, [{"dataset": place}], choices)

    def _of_source(self, position: int) -> Iterator[str]:
        """Why the cell that something asked looks at cannot be, where that comes from what it does not share."""
        asked = self._block.asked[position]
        other = {name for name, choice in asked.source if not isinstance(choice, int)}
        choices, parts = self._block.choices_seen(asked), self._block.parts_seen(asked)
        yield from self._other_images(position, parts)
        for kind, components in parts.items() if other else ():
            for place, component in enumerate(components):
                if other & {kind, *(depends_on(component, foreign=self._foreign) or ())}:
                    for reason in self._reasons(component, choices, own={kind: place}, position=position):
                        yield f"its source cannot be: {reason}"

    def _other_images(self, position: int, parts: Mapping[str, Sequence[Component]]) -> Iterator[str]:
        """Where a source is for images of another shape, or other classes, than those that it is to look at."""
        for source in parts["dataset"] if parts["dataset"] is not self._block.parts["dataset"] else ():
            for place, own in enumerate(self._block.parts["dataset"]):
                for what, known in (("images of shape", shape_of), ("classes:", num_classes)):
                    here, there = known(own), known(source)
                    if (
                        here
                        and there
                        and here != there
                        and self.is_wanted({"dataset": place}, self._block.choices, position)
                    ):
                        yield f"its source cannot be: {source.name} has {what} {there}, and {own.name} {here}"

    def _reasons(
        self,
        component: Component,
        choices: Choices,
        *,
        own: Places | None = None,
        under: Attack | Probe | None = None,
        position: int | None = None,
    ) -> Iterator[str]:
        """Each reason of a component that a wanted case meets, with those of several choices that it is about.

        `own`: its kind and position, if it is a part. `position`: of the one thing asked that it is about, if any.
        """
        needed = depends_on(component, foreign=self._foreign)
        met: dict[str, list[Places]] = {}
        for at, cell in combinations(choices, needed) if needed is not None else ():
            for reason in reasons(component, cell, under, foreign=self._foreign):
                if self.is_wanted({**at, **(own or {})}, choices, position):
                    met.setdefault(reason, []).append(at)
        for reason, places in met.items():
            yield _about(reason, places, choices)


def combinations(
    choices: Mapping[str, Sequence[T]], kinds: Iterable[str]
) -> Iterator[tuple[dict[str, int], dict[str, T]]]:
    """Every choice of one of each kind: their positions, and themselves."""
    named = [kind for kind in CELL_LISTS if kind in set(kinds)]
    for chosen in itertools.product(*(enumerate(choices[kind]) for kind in named)):
        places = dict(zip(named, chosen, strict=True))
        yield {kind: place for kind, (place, _) in places.items()}, {kind: one for kind, (_, one) in places.items()}


def _about(reason: str, met: Sequence[Places], choices: Choices) -> str:
    """The reason, with those of several choices that it is about; a kind of which all are concerned is not named."""
    places = {tuple(at.items()) for at in met}
    for kind in met[0]:
        without = {tuple(each for each in at if each[0] != kind) for at in places}
        if len(places) == len(without) * len(choices[kind]):
            places = without
    named = [", ".join(f"{kind} {_name(choices[kind][place])}" for kind, place in at) for at in sorted(places)]
    shown = list(dict.fromkeys(filter(None, named)))
    more = [f"and {len(shown) - _SHOWN} more"] if len(shown) > _SHOWN else []
    return f"{reason} ({'; '.join(shown[:_SHOWN] + more)})" if shown else reason


def _name(choice: Component | str) -> str:
    return choice if isinstance(choice, str) else choice.name
