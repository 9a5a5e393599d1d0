"""What is trained, as frozen data: components, and the cells made of them; and how an id is made of such data.

An id is the first 16 hex digits of the SHA-256 of canonical JSON over *resolved* values: defaults filled in, and the
component's hand-bumped version. Labels, shard sizes, devices and how many samples are wanted are in no id.
Knows nothing of torch, YAML or files.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TypeAlias

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Value: TypeAlias = "Json | tuple[Component, ...]"
"""The value of a parameter: plain, or components."""


def canonical(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces. Raises ValueError on NaN, TypeError on non-JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def identify(value: object) -> str:
    """The 16-digit id of a JSON value."""
    return digest(canonical(value))


def digest(text: str) -> str:
    """The 16-digit id of a canonical JSON text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def joined(parts: Mapping[str, str]) -> str:
    """The canonical JSON of a map whose values are canonical JSON already."""
    return "{" + ",".join(f'"{name}":{parts[name]}' for name in sorted(parts)) + "}"


def grown(values: Mapping[str, Json], added: Mapping[str, Json]) -> dict[str, Json]:
    """Values as ids have them: without each that was added later and still is the constant that it stood for before.

    Whatever its default has become by then: results that were stored before it came keep their ids.
    """
    return {
        name: value for name, value in values.items() if name not in added or canonical(value) != canonical(added[name])
    }


@dataclass(frozen=True)
class Component:
    """A named, versioned function under `tasks/<kind>s/` and all of its parameters, defaults filled in.

    `added`: the constants that parameters which came later stood for before, each as its type spells it.
    """

    kind: str
    name: str
    version: int
    parameters: Mapping[str, Value] = field(default_factory=dict)
    added: Mapping[str, Json] = field(default_factory=dict, compare=False, repr=False)

    def __hash__(self) -> int:
        return hash((self.kind, self.part_of_id))

    def resolved(self) -> dict[str, Json]:
        """The part of an id that this component contributes. Components among its parameters are resolved, too."""
        parameters: dict[str, Json] = {
            name: [part.resolved() for part in value] if isinstance(value, tuple) else value
            for name, value in self.parameters.items()
        }
        return {"name": self.name, "version": self.version, "parameters": dict(grown(parameters, self.added))}

    @cached_property
    def part_of_id(self) -> str:
        """The same as canonical JSON, written once: cells by the thousand have it in their ids."""
        return canonical(self.resolved())

    @property
    def parts(self) -> tuple["Component", ...]:
        """The components among its parameters, such as those that a combination is made of."""
        return tuple(part for value in self.parameters.values() if isinstance(value, tuple) for part in value)


SETTINGS: Mapping[str, tuple[str, ...]] = {
    "inputs": ("standardised", "raw"),
    "initialisation": ("torch", "glorot_uniform"),
}
"""What a cell is set to beside its components, and the values that there are.

The first is what is meant where nothing is said, and what it was before anything could be: that one is in no id.
"""


@dataclass(frozen=True)
class Cell:
    """One trained thing.

    `inputs`: what its network sees, pixels as they are ("raw", in [0, 1]) or standardised by the dataset's statistics.
    `initialisation`: how its linear and convolution layers start, as torch and the architecture have it, or by Keras'
    defaults ("glorot_uniform": Glorot and Bengio 2010, equation 16, and biases of zero).
    """

    dataset: Component
    architecture: Component
    activation: Component
    head: Component
    defense: Component
    training: Component
    seed: int
    inputs: str = SETTINGS["inputs"][0]
    initialisation: str = SETTINGS["initialisation"][0]

    def __hash__(self) -> int:
        return hash(self.id)

    def resolved(self) -> dict[str, Json]:
        """What the id is made from."""
        parts = {part: getattr(self, part).resolved() for part in CELL_PARTS}
        return {**parts, "seed": self.seed, **self.settings}

    @property
    def settings(self) -> dict[str, str]:
        """Those of its SETTINGS that are not as they were before there were any."""
        given = ((name, str(getattr(self, name)), values[0]) for name, values in SETTINGS.items())
        return {name: value for name, value, usual in given if value != usual}

    @property
    def components(self) -> tuple[Component, ...]:
        """Its parts, each followed by the components among its parameters."""
        parts: list[Component] = [getattr(self, part) for part in CELL_PARTS]
        return tuple(each for part in parts for each in (part, *part.parts))

    @cached_property
    def part_of_id(self) -> str:
        """As canonical JSON, what the id is made from."""
        parts = {part: getattr(self, part).part_of_id for part in CELL_PARTS}
        settings = {name: canonical(value) for name, value in self.settings.items()}
        return joined({**parts, "seed": str(self.seed), **settings})

    @cached_property
    def id(self) -> str:
        """16 hex digits."""
        return digest(self.part_of_id)


CELL_LISTS = tuple(field.name for field in fields(Cell))
"""All that a cell is made of, in the order in which a block's product varies it, slowest first."""
CELL_PARTS = tuple(name for name in CELL_LISTS if name != "seed" and name not in SETTINGS)
"""The kinds of component among these."""
CELL_AXES = (*(part for part in CELL_PARTS if part != "training"), *SETTINGS, "seed")
"""The columns that name a cell, in the order in which tables sort by them."""
LABELLED_AXES = ("architecture", "activation", "defense")
"""The axes whose parameters tell the cells of a study apart: they have a column in words too, `architecture_label`."""
