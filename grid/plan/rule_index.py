"""Which rules select a case: the axes a rule may name, and an index that finds the rules of a case without trying each.

Knows nothing of YAML or of what a rule is for (exclusion, published values).
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from grid.plan.asked import Rule
from tasks.config import CELL_AXES, CELL_PARTS, Attack, Cell, Component, Norm, Probe, Space

CELL_LISTS = (*CELL_PARTS, "seed")
"""The lists of a block whose product are its cells."""
AXES: dict[str, Any] = {
    **{axis: int if axis == "seed" else str for axis in CELL_AXES},
    "attack": str,
    "probe": str,
    "norm": Norm,
    "eps": float | None,
    "space": Space,
    "box": bool,
    "targets": Literal["all"] | list[int] | None,
    "variant": str,
}
"""What a rule may select by, and the type of its values.

Beside these: SOURCE_AXES, and parameters, as `attack.steps`.
"""
PARAMETER_KINDS = (*CELL_PARTS, "attack", "probe")
"""The kinds of component whose parameters a rule may name."""
SOURCE_AXES = tuple(f"source.{part}" for part in CELL_LISTS)
"""A component, or the seed, of the cell that an attack looks at."""


class Subject(NamedTuple):
    """What a rule may select: an attack on a cell, seeing `source`, or a probe of it, or itself, under a label."""

    cell: Cell
    attack: Attack | None
    source: Cell | None
    variant: str
    probe: Probe | None = None


_Reader: TypeAlias = Callable[[Subject], object]
ABSENT = object()
"""The value of an axis that a case does not have: no rule allows it."""


class RuleIndex:
    """Finds the rules that select a case.

    Rules of one value per axis are looked up, all that name the same axes at once: thousands of published values cost
    no more than a few. The others, with lists, are tried one by one.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._tables: dict[tuple[str, ...], dict[Hashable, list[int]]] = {}
        self._lists: list[tuple[int, list[tuple[_Reader, frozenset[Hashable]]]]] = []
        for number, rule in enumerate(rules):
            allowed = {axis: [key_of(value) for value in values] for axis, values in sorted(rule.allowed.items())}
            if all(len(keys) == 1 for keys in allowed.values()):
                table = self._tables.setdefault(tuple(allowed), {})
                table.setdefault(tuple(keys[0] for keys in allowed.values()), []).append(number)
            else:
                tests = [(_reader(axis), frozenset(keys)) for axis, keys in allowed.items()]
                self._lists.append((number, tests))
        self._readers = {axes: [_reader(axis) for axis in axes] for axes in self._tables}

    def matching(self, subject: Subject) -> list[int]:
        """Positions, as given, of the rules that select it."""
        found: list[int] = []
        for axes, table in self._tables.items():
            values = tuple(key_of(read(subject)) for read in self._readers[axes])
            found += table.get(values, ())
        for number, tests in self._lists:
            if all(key_of(read(subject)) in keys for read, keys in tests):
                found.append(number)
        return sorted(found)


def key_of(value: object) -> Hashable:
    """Equal for values that a reader takes for equal: 1 and 1.0 are, 1 and true are not."""
    match value:
        case bool():
            return (bool, value)
        case list():
            return tuple(key_of(item) for item in value)
        case Hashable():
            return value
    raise TypeError(f"{value!r} is no value of an axis")


def _reader(axis: str) -> _Reader:
    kind, _, parameter = axis.partition(".")
    if kind == "source":
        return lambda subject: _of_cell(subject.source or subject.cell, parameter)
    if parameter:
        return lambda subject: _parameter(subject, kind, parameter)
    if kind in CELL_PARTS or kind == "seed":
        return lambda subject: _of_cell(subject.cell, kind)
    if kind == "variant":
        return lambda subject: subject.variant
    if kind == "probe":
        return lambda subject: subject.probe.name if subject.probe else ABSENT
    return lambda subject: _of_attack(subject.attack, kind)


def _of_cell(cell: Cell, kind: str) -> object:
    found = getattr(cell, kind, ABSENT)
    return found.name if isinstance(found, Component) else found


def _of_attack(attack: Attack | None, kind: str) -> object:
    if attack is None:
        return ABSENT
    if kind == "targets":
        return attack.targets
    return attack.name if kind == "attack" else getattr(attack.budget, kind)


def _parameter(subject: Subject, kind: str, name: str) -> object:
    component: Component | None
    if kind in {"attack", "probe"}:
        chosen = subject.attack if kind == "attack" else subject.probe
        component = chosen.component if chosen else None
    else:
        component = getattr(subject.cell, kind)
    return ABSENT if component is None else parameter_of(component, name)


def parameter_of(component: Component, name: str) -> object:
    """The value of a component's parameter, or ABSENT; of a combination, what the first part that has it says."""
    if component.parts != (component,) and name == "parts":
        return [part.name for part in component.parts]
    return next((part.parameters[name] for part in component.parts if name in part.parameters), ABSENT)
