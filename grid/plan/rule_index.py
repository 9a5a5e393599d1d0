"""Which cases of a block a rule selects, found list by list: a block is a product, and a rule names some of its lists.

A rule costs the same however many cases the block has, until those it selects are counted out. Knows nothing of YAML
or of what a rule is for (exclusion, published values).
"""

import functools
import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypeGuard

from grid.plan.asked import Asked, Block, Rule
from grid.plan.defaults import added
from tasks import registry
from tasks.cases import Attack, Norm, Probe, Space
from tasks.config import CELL_LISTS, CELL_PARTS, SETTINGS, Component, Json
from tasks.parameters import several

AXES: dict[str, Any] = {
    **dict.fromkeys(CELL_PARTS, str),
    **{name: Literal[values] for name, values in SETTINGS.items()},
    "seed": int,
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
"""A component, a setting, or the seed, of the cell that an attack looks at."""

ABSENT = object()
"""The value of an axis that a case does not have: no rule allows it."""

Keys: TypeAlias = frozenset[Hashable]


class Box(NamedTuple):
    """A part of a block that is itself a product: positions in each of the lists of its cells, and in what is asked."""

    cells: tuple[Sequence[int], ...]
    asked: Sequence[int]


class KeyedRule:
    """A rule with its values made ready to be looked up."""

    def __init__(self, rule: Rule) -> None:
        self.axes = [
            (axis, axis.partition(".")[0], frozenset(map(key_of, values))) for axis, values in rule.allowed.items()
        ]


class BlockIndex:
    """Finds what rules select of one block. `asked` counts as one item where nothing is asked of the block's cells."""

    def __init__(self, block: Block) -> None:
        self._lists: dict[str, Sequence[object]] = dict(zip(CELL_LISTS, block.axes, strict=True))
        self._asked: Sequence[Asked | None] = block.asked or (None,)
        self._positions: dict[str, dict[Hashable, list[int]]] = {}
        self._variant = key_of(block.variant)
        self._all: dict[str, Sequence[int]] = {name: range(len(values)) for name, values in self._lists.items()}
        self._cells = list(self._all.items())
        self._all["asked"] = range(len(self._asked))
        sizes = [len(values) for values in self._lists.values()]
        self._strides = [math.prod(sizes[place + 1 :]) for place in range(len(sizes))]

    def boxes(self, rule: "KeyedRule") -> list[Box]:
        """What the rule selects, as products that do not overlap, none of them empty."""
        narrowed: dict[str, Sequence[int]] = {}
        sources: dict[str, Keys] = {}
        for axis, kind, keys in rule.axes:
            if kind == "source":
                sources[axis.partition(".")[2]] = keys
                continue
            if kind == "variant":
                if self._variant not in keys:
                    return []
                continue
            matching = self._matching(axis, keys)
            place = kind if kind in self._lists else "asked"
            narrowed[place] = _both(narrowed[place], matching) if place in narrowed else matching
            if not narrowed[place]:
                return []
        asked = narrowed.pop("asked", self._all["asked"])
        if not sources:
            return [Box(tuple(narrowed.get(name, every) for name, every in self._cells), asked)]
        found = (self._with_source(narrowed, position, sources) for position in asked)
        return [box for box in found if box is not None]

    def flat(self, box: Box) -> Iterator[int]:
        """Numbers of the box's cells in the block's product."""
        steps = [[p * stride for p in places] for places, stride in zip(box.cells, self._strides, strict=True)]
        return map(sum, itertools.product(*steps))

    def _matching(self, axis: str, keys: Keys) -> Sequence[int]:
        """Positions in the list that an axis is about at which it has one of the values."""
        if axis not in self._positions:
            kind = axis.partition(".")[0]
            things: Sequence[Any] = self._lists.get(kind, self._asked)
            read = _reader(axis)
            positions: dict[Hashable, list[int]] = {}
            for position, thing in enumerate(things):
                positions.setdefault(key_of(read(thing)), []).append(position)
            self._positions[axis] = positions
        if len(keys) == 1:
            return self._positions[axis].get(next(iter(keys)), ())
        return sorted(itertools.chain(*(self._positions[axis].get(key, ()) for key in keys)))

    def _with_source(self, given: dict[str, Sequence[int]], position: int, sources: dict[str, Keys]) -> Box | None:
        """Of one thing asked, the cells whose source is selected: a source has what it does not name from its cell."""
        asked = self._asked[position]
        if asked is None:
            return None
        named = dict(asked.source)
        narrowed = {name: given.get(name, every) for name, every in self._cells}
        for part, keys in sources.items():
            if part not in named:
                narrowed[part] = _both(narrowed[part], self._matching(part, keys))
            elif key_of(_name(named[part])) not in keys:
                return None
        return Box(tuple(narrowed.values()), (position,)) if all(narrowed.values()) else None


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


def _both(some: Sequence[int], others: Sequence[int]) -> Sequence[int]:
    kept = set(others)
    return [position for position in some if position in kept]


def _reader(axis: str) -> Callable[[Any], object]:
    """What an axis says of a member of the list that it is about."""
    kind, _, parameter = axis.partition(".")
    if kind in CELL_LISTS:
        return (lambda thing: parameter_of(kind, thing.resolved(), parameter)) if parameter else _name
    return lambda asked: _of_asked(asked, kind, parameter)


def _name(thing: Component | int | str) -> object:
    return thing.name if isinstance(thing, Component) else thing


def _of_asked(asked: Asked | None, kind: str, parameter: str) -> object:
    under: Attack | Probe | None = asked.under if asked else None
    if under is None or (kind in {"attack", "probe"} and under.kind != kind):
        return ABSENT
    if parameter:
        return parameter_of(under.kind, under.component.resolved(), parameter)
    if kind in {"attack", "probe"}:
        return under.name
    if isinstance(under, Probe):
        return ABSENT
    return under.targets if kind == "targets" else getattr(under.budget, kind)


def parameter_of(kind: str, resolved: Mapping[str, Any], name: str) -> object:
    """What a component, resolved, says of a parameter, or else the first among its parameters that has one; or ABSENT.

    Of components it says their names. A parameter that is left out of ids has the value that it is left out for.
    """
    given = resolved["parameters"]
    if name in given:
        value = given[name]
        return [part["name"] for part in value] if are_components(value) else value
    constants = _left_out(kind, resolved["name"])
    if name in constants:
        return constants[name]
    parts = ((parameter, part) for parameter, value in given.items() if are_components(value) for part in value)
    found = (parameter_of(_kind_of_parts(kind, resolved["name"], parameter), part, name) for parameter, part in parts)
    return next((value for value in found if value is not ABSENT), ABSENT)


@functools.cache
def _left_out(kind: str, name: str) -> Mapping[str, Json]:
    """The constants of a component's parameters that came later; none of one that is not installed here."""
    try:
        return added(kind, name)
    except (registry.UnknownComponentError, registry.ComponentSourceError):
        return {}


@functools.cache
def _kind_of_parts(kind: str, name: str, parameter: str) -> str:
    try:
        marked = several(registry.describe(kind, name).parameters[parameter].type)
    except (registry.UnknownComponentError, registry.ComponentSourceError, KeyError):
        return kind
    return marked.kind if marked else kind


def are_components(value: object) -> TypeGuard[list[dict[str, Any]]]:
    """Whether a parameter's resolved value is components: no other value has maps in it."""
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)
