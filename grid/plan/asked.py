"""What a spec asks for, as frozen data: blocks whose product is the grid, rules that select from it, published values.

Knows nothing of YAML, of validity, or of what is stored.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from grid.errors import Problem
from tasks.cases import Attack, Probe
from tasks.config import Component, Json, canonical

Source: TypeAlias = tuple[tuple[str, Component | int | str], ...]
"""In what the cell that an attack looks at differs from the cell it is judged on, part by part."""


@dataclass(frozen=True)
class Samples:
    """How many samples of the test split each case wants (None: all of them), and in which order."""

    count: int | None
    order: Literal["shuffled", "natural"]


@dataclass(frozen=True)
class Asked:
    """An attack or a probe, how many samples it wants where that is not the grid's own count, and its source."""

    under: Attack | Probe
    samples: int | None
    source: Source = ()

    @property
    def text(self) -> str:
        """What is asked, in one canonical text."""
        named = {kind: part.resolved() if isinstance(part, Component) else part for kind, part in self.source}
        return f"{self.under.part_of_id} {canonical(named)}"


@dataclass(frozen=True)
class Block:
    """The product of its lists. `variant` is a label of the reader's (published, corrected); it is in no id.

    `parts` has the components of each kind that a cell is made of, in the order of `tasks.config.CELL_PARTS`, and
    `settings` the values of each of `tasks.config.SETTINGS`.
    """

    variant: str
    parts: Mapping[str, tuple[Component, ...]]
    settings: Mapping[str, tuple[str, ...]]
    seeds: tuple[int, ...]
    asked: tuple[Asked, ...] = ()

    @property
    def axes(self) -> tuple[tuple[Component | int | str, ...], ...]:
        """The lists whose product are the block's cells, the slowest first."""
        return (*self.parts.values(), self.seeds, *self.settings.values())

    def parts_seen(self, asked: Asked) -> Mapping[str, tuple[Component, ...]]:
        """The lists of parts of the cells that something asked looks at."""
        return {**self.parts, **{kind: (part,) for kind, part in asked.source if isinstance(part, Component)}}

    @property
    def choices(self) -> Mapping[str, tuple[Component | str, ...]]:
        """The lists of parts and of settings of its cells."""
        return {**self.parts, **self.settings}

    def choices_seen(self, asked: Asked) -> Mapping[str, tuple[Component | str, ...]]:
        """Those of the cells that something asked looks at."""
        return {**self.choices, **{name: (choice,) for name, choice in asked.source if not isinstance(choice, int)}}

    def components(self) -> Iterator[Component]:
        """Every component that it names, those among the parameters of others too."""
        named = [*itertools.chain(*self.parts.values())]
        for asked in self.asked:
            named += [*asked.under.components, *(other for _, other in asked.source if isinstance(other, Component))]
        for component in named:
            yield from (component, *component.parts)

    @property
    def num_cells(self) -> int:
        """How many cells the product has."""
        return math.prod(map(len, self.axes))

    @property
    def num_asked(self) -> int:
        """How many cases the product has; a cell that nothing is asked of counts as one."""
        return self.num_cells * max(1, len(self.asked))


@dataclass(frozen=True)
class Rule:
    """Selects the cases that, on every axis named, have one of the values given. No axis: every case."""

    allowed: Mapping[str, tuple[Json, ...]]


@dataclass(frozen=True)
class Published:
    """A value from the literature, for every case that `rule` selects, in the unit of the metric.

    `n`: how many test images it is over, if it says so; `over`: "seed" where it is a mean over several trainings.
    """

    rule: Rule
    metric: str
    value: float
    source: str
    note: str
    n: int | None = None
    over: str | None = None


@dataclass(frozen=True)
class TableAsked:
    """A table that a spec names, and how it is laid out; one of its own has a title for a name, and its `sql`.

    `over`: the axes that are averaged over; `pivot`: those of whose values each has columns of its own; `columns`:
    those that are shown; `sort`: those by which lines are ordered, descending where it opens with a minus.
    """

    name: str
    over: tuple[str, ...] = ()
    pivot: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    sql: str = ""
    line: int = field(default=0, compare=False)
    key: str = field(default="", compare=False)

    @property
    def is_plain(self) -> bool:
        """Whether it is one there is, as it is."""
        return self == TableAsked(self.name)


@dataclass(frozen=True)
class Chosen:
    """Of one block: a byte for each (cell, thing asked), 1 where it is excluded; None if nothing is.

    `published`: by the number of the cell and of what is asked, the numbers of the values that are about the case.
    """

    excluded: bytearray | None = None
    published: Mapping[int, Mapping[int, list[int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Selection:
    """What the rules of a spec come to: of every block what is chosen, and the numbers of those that select nothing."""

    blocks: Sequence[Chosen]
    unused_exclude: Sequence[int]
    unused_published: Sequence[int]
    is_empty: bool


@dataclass(frozen=True)
class GridSpec:
    """A validated spec.

    `document` is all of it as one YAML text that needs no other file: extends, profile and overrides merged, files
    inlined, numbers spelt as their writer did. `selection`: what its rules come to, where that is known already.
    `warnings`: what is allowed, but hardly meant.
    """

    name: str
    samples: Samples
    blocks: tuple[Block, ...]
    exclude: tuple[Rule, ...]
    tables: tuple[TableAsked, ...]
    published: tuple[Published, ...]
    document: str = field(default="", compare=False, repr=False)
    selection: Selection | None = field(default=None, compare=False, repr=False)
    warnings: tuple[Problem, ...] = field(default=(), compare=False, repr=False)
