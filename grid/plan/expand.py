"""GridSpec -> a stream of its cells, each with all that is asked of it: walked once per command, and never held.

Pure. Knows nothing of YAML, of files or of what is stored.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from grid.plan.asked import Asked, Block, GridSpec, Selection, Source
from grid.plan.products import meetings, product
from grid.plan.selection import select
from tasks import registry
from tasks.cases import Attack, Case, Probe
from tasks.config import Cell, Component
from tasks.needs import Base, base_of, draws, settled, stopping


class Wanted(NamedTuple):
    """A case that a grid asks for, the first `samples` of its order, and the labels of the blocks that ask.

    `published`: numbers of the spec's published values that are about it.
    """

    case: Case
    samples: int
    variant: str
    published: Sequence[int] = ()


class Ask(NamedTuple):
    """What is asked of a cell, as it concerns it: how many samples of the dataset there are, whether draws matter."""

    under: Attack | Probe
    samples: int
    variant: str
    source: Cell | None = None
    published: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class WantedCell:
    """A cell with what is asked of it. `asked` is false for one that only other cells need; `base`: what it needs."""

    cell: Cell
    order: Literal["shuffled", "natural"]
    asks: Sequence[Ask]
    base: Base | None
    asked: bool = True

    def cases(self) -> Iterator[Wanted]:
        """The cases of the cell."""
        for under, samples, variant, source, published in self.asks:
            yield Wanted(Case(self.cell, under, self.order, source), samples, variant, published)

    @property
    def num_samples(self) -> int:
        """How many samples all its cases want together."""
        return sum([ask.samples for ask in self.asks])


def expand(spec: GridSpec) -> Iterator[WantedCell]:
    """Every wanted cell once, then those that only other cells need; not one whose every case is excluded.

    A case that several blocks ask for comes once, with all their labels and the most samples.
    """
    order = spec.samples.order
    sources: dict[str, Cell] = {}
    bases: dict[str, Cell] = {}
    own: set[str] = set()
    for cell, asks in _Walk(spec, spec.selection or select(spec)).cells():
        own.add(cell.id)
        base = base_of(cell)
        wanted = WantedCell(cell, order, asks, base)
        bases.update(_chain(base))
        for ask in asks if any(ask.source for ask in asks) else ():
            if ask.source:
                sources[ask.source.id] = ask.source
        yield wanted
    for source in sources.values():
        bases.update(_chain(base_of(source)))
    for cell_id, cell in {**bases, **sources}.items():
        if cell_id not in own:
            yield WantedCell(cell, order, (), base_of(cell), asked=False)


def num_samples(spec: GridSpec, asked: Asked, dataset: Component) -> int:
    """How many samples a case wants: never more than the dataset's test split has."""
    size = split_size(dataset)
    count = asked.samples or spec.samples.count or size
    if count is None:
        raise ValueError(f"dataset {dataset.name!r} does not declare how many samples it has")
    return min(count, size) if size else count


def split_size(dataset: Component) -> int | None:
    """The number of samples of a dataset's test split, as its component declares it in the fact `samples`."""
    return registry.describe("dataset", dataset.name).facts.samples


class _Walk:
    """One walk over the blocks of a spec."""

    def __init__(self, spec: GridSpec, selection: Selection) -> None:
        self._spec = spec
        self._chosen = selection.blocks
        self._shared: dict[tuple[int, bool, Component], tuple[Ask, ...]] = {}
        self._told: dict[tuple[int, bool, bool, bool], Attack | Probe] = {}
        self._sourced = [any(asked.source for asked in block.asked) for block in spec.blocks]
        self._repeating = [_may_repeat(block) for block in spec.blocks]

    def cells(self) -> Iterator[tuple[Cell, Sequence[Ask]]]:
        """Every cell that is still asked for, at the first block that has it, with what all blocks ask of it."""
        shared = meetings(self._spec.blocks)
        for number, block in enumerate(self._spec.blocks):
            for place, cell in enumerate(product(block)):
                places = shared.get(cell.id) if shared else None
                if places is None:
                    found = self._of_block(cell, number, place)
                elif places[0] == (number, place):
                    parts = [self._of_block(cell, *each) for each in places]
                    kept = [part for part in parts if part is not None]
                    found = _joined(itertools.chain(*kept)) if kept else None
                else:
                    continue
                if found is not None:
                    yield cell, found

    def _of_block(self, cell: Cell, number: int, place: int) -> Sequence[Ask] | None:
        """What a block asks of one of its cells; None if all of it is excluded."""
        block, chosen = self._spec.blocks[number], self._chosen[number]
        width = max(1, len(block.asked))
        marks = chosen.excluded[place * width : (place + 1) * width] if chosen.excluded else b""
        if marks and 0 not in marks:
            return None
        asks = self._asks(cell, number)
        if self._sourced[number]:
            asks = [self._with_source(ask, cell, asked) for ask, asked in zip(asks, block.asked, strict=True)]
        if place in chosen.published:
            asks = _with_published(asks, chosen.published[place])
        if any(marks):
            asks = [ask for ask, mark in zip(asks, marks, strict=True) if not mark]
        return _joined(asks) if self._repeating[number] else asks

    def _asks(self, cell: Cell, number: int) -> Sequence[Ask]:
        """What a block asks of cells like this one, whatever is excluded."""
        key = number, draws(cell), cell.dataset
        if key not in self._shared:
            block = self._spec.blocks[number]
            self._shared[key] = tuple(
                Ask(self._fitted(asked, cell, None), num_samples(self._spec, asked, cell.dataset), block.variant)
                for asked in block.asked
            )
        return self._shared[key]

    def _with_source(self, ask: Ask, cell: Cell, asked: Asked) -> Ask:
        source = _source(cell, asked.source)
        return ask._replace(source=source, under=self._fitted(asked, cell, source)) if source else ask

    def _fitted(self, asked: Asked, cell: Cell, source: Cell | None) -> Attack | Probe:
        """What is asked as it concerns a cell: one object for all that it concerns alike, whose id is made once."""
        judged, transfer = draws(cell), source is not None
        seen = draws(source) if source else judged
        key = id(asked), judged, seen, transfer
        if key not in self._told:
            self._told[key] = _fitted(asked.under, judged=judged, seen=seen, transfer=transfer)
        return self._told[key]


def _fitted(under: Attack | Probe, *, judged: bool, seen: bool, transfer: bool) -> Attack | Probe:
    """An attack as it concerns a cell, by whether the model that is judged draws, and the one that is looked at.

    Draws are of no matter to a model that draws nothing, and when a sample is finished is of matter to the others.
    """
    if isinstance(under, Probe):
        return under
    if under.eot > 1 and not seen:
        under = replace(under, eot=1, then=tuple(replace(member, eot=1) for member in under.then))
    if under.draws > 1 and not judged:
        under = replace(under, draws=1, then=tuple(replace(member, draws=1) for member in under.then))
    said = stopping(under, draws=judged, seen=seen, transfer=transfer)
    return under if said == under.stopping else replace(under, stopping=said)


def _source(cell: Cell, named: Source) -> Cell | None:
    """The cell that an attack or probe looks at, if that is another one."""
    if not named:
        return None
    changed: dict[str, Any] = dict(named)
    source = settled(replace(cell, **changed))
    return None if source == cell else source


def _with_published(asks: Sequence[Ask], published: Mapping[int, list[int]]) -> list[Ask]:
    asks = list(asks)
    for position, numbers in published.items():
        asks[position] = asks[position]._replace(published=numbers)
    return asks


def _may_repeat(block: Block) -> bool:
    """Whether two things that a block asks may come to the same case for some cell."""
    attacks = [asked.under for asked in block.asked if isinstance(asked.under, Attack)]
    varied = len({(attack.eot, attack.draws) for attack in attacks}) > 1
    repeated = len({asked.under.part_of_id for asked in block.asked}) < len(block.asked)
    return varied or repeated or any(asked.source for asked in block.asked)


def _joined(asks: Iterable[Ask]) -> list[Ask]:
    """Each thing once: the union of labels and of published values, and the most samples."""
    found: dict[object, Ask] = {}
    for ask in asks:
        key = (ask.under.part_of_id, ask.source.id if ask.source else None)
        known = found.get(key)
        found[key] = _join(known, ask) if known else ask
    return list(found.values())


def _join(first: Ask, second: Ask) -> Ask:
    labels = dict.fromkeys([*first.variant.split(", "), second.variant])
    published = sorted({*first.published, *second.published})
    return first._replace(
        samples=max(first.samples, second.samples), variant=", ".join(filter(None, labels)), published=published
    )


def _chain(base: Base | None) -> dict[str, Cell]:
    """The cells, by id, that have to be there before one can be trained, given the first of them."""
    found: dict[str, Cell] = {}
    while base:
        found[base.cell.id] = base.cell
        base = base_of(base.cell)
    return found
