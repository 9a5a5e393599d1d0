"""What a spec asks for, as frozen data: blocks whose product is the grid, rules that select from it, published values.

Knows nothing of YAML, of validity, or of what is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tasks.config import Attack, Component, Json, Probe


@dataclass(frozen=True)
class Samples:
    """How many samples of the test split each case wants (None: all of them), and in which order."""

    count: int | None
    order: Literal["shuffled", "natural"]


@dataclass(frozen=True)
class WantedAttack:
    """An attack, and how many samples it wants where that is not the grid's own count.

    `source`: in what the cell that the attack looks at differs from the cell it is judged on, kind by kind.
    """

    attack: Attack
    samples: int | None
    source: tuple[tuple[str, Component | int], ...] = ()


@dataclass(frozen=True)
class WantedProbe:
    """A probe, how many samples it wants where that is not the grid's own count, and its source, as an attack's."""

    probe: Probe
    samples: int | None
    source: tuple[tuple[str, Component | int], ...] = ()


@dataclass(frozen=True)
class Block:
    """The product of its lists. `variant` is a label of the reader's (published, corrected); it is in no id."""

    variant: str
    datasets: tuple[Component, ...]
    architectures: tuple[Component, ...]
    activations: tuple[Component, ...]
    heads: tuple[Component, ...]
    defenses: tuple[Component, ...]
    trainings: tuple[Component, ...]
    seeds: tuple[int, ...]
    attacks: tuple[WantedAttack, ...]
    probes: tuple[WantedProbe, ...] = ()


@dataclass(frozen=True)
class Rule:
    """Selects the cases that, on every axis named, have one of the values given. No axis: every case."""

    allowed: Mapping[str, tuple[Json, ...]]


@dataclass(frozen=True)
class Published:
    """A value from the literature, for every case that `rule` selects, in the unit of the metric."""

    rule: Rule
    metric: str
    value: float
    source: str
    note: str


@dataclass(frozen=True)
class GridSpec:
    """A validated spec.

    `document` is all of it as one YAML text that needs no other file: extends, profile and overrides merged, files
    inlined, numbers spelt as their writer did.
    """

    name: str
    samples: Samples
    blocks: tuple[Block, ...]
    exclude: tuple[Rule, ...]
    tables: tuple[str, ...]
    published: tuple[Published, ...]
    document: str = field(default="", compare=False, repr=False)
