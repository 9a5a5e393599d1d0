"""The components a spec names, with their parameters: a name, {name: {parameters}}, or a list of these.

Two short forms: parameters alone stand for the usual component of a kind that goes without its name, and a list alone
for the one parameter of a component that is components. `each:` varies any parameter, and several vary as a product,
the first written slowest. What is allowed is read from the components' signatures. Knows nothing of blocks, of cells,
or of what is computed.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from grid.plan.defaults import UNNAMED, USUAL, added, defaults
from grid.spec.doubts import doubt_component
from grid.spec.nodes import Node, Report, plain, spelling
from grid.values import accept, fractions, is_accepted
from tasks import packages, registry
from tasks.config import Component, Value
from tasks.parameters import Several, several
from tasks.registry import REQUIRED, Description
from tasks.words import unknown

Open = None | bool | int | float | str | list[bool | int | float | str]
"""The type of a parameter that an open component does not declare."""


class Entry(NamedTuple):
    """A component as a spec names it: what it is, where it stands, and the parameters written.

    `listed` is the one that is given as a list in place of all parameters, if any.
    """

    found: Description[Any]
    node: Node
    key: str
    written: Mapping[str, Node]
    listed: str | None = None

    def place(self, name: str) -> str:
        """The key of a parameter. One given as a list in place of all parameters has no key of its own."""
        return self.key if name == self.listed else f"{self.key}.{name}"


class Choice(NamedTuple):
    """One value that a parameter may take, and how the spec spells it."""

    value: Value
    text: str


def components(kind: str, node: Node, key: str, report: Report) -> tuple[Component, ...]:
    """All variants of all components on one axis, each once; those in error are reported and left out."""
    found: dict[str, Component] = {}
    if node.value == []:
        report.add(node, key, "is an empty list")
    for item, place in alternatives(node, key):
        entry = entry_of(kind, item, place, report)
        for component, _ in variants(entry, {}, (), report) if entry else ():
            found.setdefault(component.part_of_id, component)
            report.stands(key, component.part_of_id, entry.node if entry else item, entry.key if entry else place)
    return tuple(found.values())


def alternatives(node: Node, key: str) -> list[tuple[Node, str]]:
    """The items of a list with their keys, or a single value as if it were a list of one."""
    if isinstance(node.value, list):
        return [(child, place) for place, child in node.items(key)]
    return [(node, key)]


def mapping(node: Node, key: str, report: Report) -> dict[str, Node]:
    """The children of a map. Nothing at all is an empty map; anything else is reported."""
    if isinstance(node.value, dict):
        return node.value
    if node.value is not None:
        report.add(node, key, "must be a map")
    return {}


def is_unnamed(kind: str, node: Node) -> bool:
    """Whether a component is given by its parameters alone: no map of the one name of a component."""
    if kind not in UNNAMED or not isinstance(node.value, dict | None):
        return False
    if node.value is None or len(node.value) != 1:
        return True
    ((name, given),) = node.value.items()
    # The value of a parameter is a map only where it varies.
    is_map = isinstance(given.value, dict) and not _varies(given)
    return not (is_map or ":" in name or name in registry.names(kind))


def entry_of(kind: str, item: Node, key: str, report: Report) -> Entry | None:
    """One component as a spec names it; reported and None if there is none of the kind."""
    if is_unnamed(kind, item):
        return _entry(kind, USUAL[kind], item, item, key, report)
    match item.value:
        case str() as name:
            return _entry(kind, name, item, Node(None), key, report)
        case dict() as children if len(children) == 1:
            ((name, given),) = children.items()
            return _entry(kind, name, item, given, f"{key}.{name}", report)
    usual = f". Without any, it is {USUAL[kind]}: write that" if item.value is None and kind in USUAL else ""
    report.add(item, key, f"must be the name of one {kind}, or {{name: {{parameters}}}}; several are a list{usual}")
    return None


def _entry(kind: str, name: str, item: Node, given: Node, key: str, report: Report) -> Entry | None:
    try:
        found = registry.describe(kind, name)
        defaults(kind, name)
        added(kind, name)
    except (registry.UnknownComponentError, registry.ComponentSourceError) as error:
        report.add(item, key.removesuffix(f".{name}"), str(error))
    else:
        for line in packages.lacking(found):
            report.warn(item, key, line)
        listed = listed_parameter(found)
        if listed and (_varies(given) or not isinstance(given.value, dict | None)):
            return Entry(found, item, key, {listed: given}, listed)
        return Entry(found, item, key, mapping(given, key, report))
    return None


def listed_parameter(found: Description[Any]) -> str | None:
    """The parameter for which a list stands in place of a component's parameters: its only one of components."""
    names = [name for name, parameter in found.parameters.items() if several(parameter.type)]
    return names[0] if len(names) == 1 else None


def variants(
    entry: Entry, also: Mapping[str, Any], needed: Sequence[str], report: Report
) -> Iterator[tuple[Component, dict[str, Choice]]]:
    """Every variant of an entry, with the harness's own keys (their types in `also`) beside it.

    `needed` are the keys among those that must be written.
    """
    found = entry.found
    types = {**{name: parameter.type for name, parameter in found.parameters.items()}, **also}
    if found.open:
        types = {**dict.fromkeys(entry.written, Open), **types}
    own = [name for name, parameter in found.parameters.items() if parameter.default is REQUIRED]
    required = [*own, *needed]
    _check_keys(entry, types, required, report)
    chosen = {
        name: choices(types[name], node, entry.place(name), report)
        for name, node in entry.written.items()
        if name in types
    }
    if not report.has_room(math.prod(map(len, chosen.values())), entry.node, entry.key):
        return
    for values in itertools.product(*chosen.values()):
        one = dict(zip(chosen, values, strict=True))
        if all(name in one for name in required):
            component = _component(found, one, also)
            doubt_component(component, entry.written.get("eps", entry.node), entry.place("eps"), report)
            yield component, {name: one[name] for name in also if name in one}


def _component(found: Description[Any], chosen: Mapping[str, Choice], also: Mapping[str, Any]) -> Component:
    given = {name: choice.value for name, choice in chosen.items() if name not in also}
    values: dict[str, Value] = {**defaults(found.kind, found.name), **given}
    extra = [name for name in given if name not in found.parameters]
    parameters = {name: values[name] for name in [*found.parameters, *sorted(extra)]}
    return Component(found.kind, found.name, found.version, parameters, added(found.kind, found.name))


def _check_keys(entry: Entry, known: Mapping[str, Any], required: list[str], report: Report) -> None:
    what = f"{entry.found.kind} {entry.found.name!r}"
    for name, node in entry.written.items():
        if name not in known:
            report.add(node, entry.place(name), unknown("parameter", name, known, what))
    for name in required:
        if name not in entry.written:
            report.add(entry.node, f"{entry.key}.{name}", f"{what} needs it")


def choices(kind: Any, node: Node, key: str, report: Report) -> list[Choice]:  # noqa: ANN401 - a typing object
    """The accepted values of one parameter, each once: one, or those of its `each`."""
    items = [(node, key)]
    if isinstance(node.value, dict) and _varies(node):
        items = alternatives(node.value["each"], f"{key}.each")
        if not isinstance(node.value["each"].value, list) or not items:
            report.add(node, key, "each: takes a list of values")
            return []
    found: dict[str, Choice] = {}
    for item, place in items:
        for value in _values(kind, item, place, report):
            found.setdefault(repr(value), Choice(value, item.text))
    return list(found.values())


def _varies(node: Node) -> bool:
    return isinstance(node.value, dict) and node.value.keys() == {"each"}


def _values(kind: Any, node: Node, key: str, report: Report) -> Iterator[Value]:  # noqa: ANN401 - as above
    """What one value comes to: itself, or of a list of components all that these vary to."""
    listed = several(kind)
    if listed:
        yield from _combinations(listed, node, key, report)
        return
    try:
        yield accept(kind, fractions(plain(node)) if kind is Open else plain(node))
    except ValueError as error:
        report.add(node, key, f"{error}{_varied(kind, node)}")


def _varied(kind: Any, node: Node) -> str:  # noqa: ANN401 - as above
    """What to write, where a value stands in place of a list of such, or a list of them in place of one."""
    if is_accepted(kind, [plain(node)]):
        return f": write [{spelling(node)}]"
    if not isinstance(node.value, list) or not node.value or not all(is_accepted(kind, plain(n)) for n in node.value):
        return ""
    return f": to vary it write {{each: {spelling(node)}}}"


def _combinations(listed: Several, node: Node, key: str, report: Report) -> Iterator[tuple[Component, ...]]:
    """Every choice of one variant of each component in a list."""
    if not isinstance(node.value, list) or len(node.value) < 2:
        report.add(node, key, f"must be a list of at least two components of the kind {listed.kind!r}")
        return
    parts: list[tuple[Component, ...]] = []
    for place, child in node.items(key):
        parts.append(components(listed.kind, child, place, report))
        if any(component.parts for component in parts[-1]):
            report.add(child, place, "a combination cannot be part of another: list all of them in one")
    if not report.has_room(math.prod(map(len, parts)), node, key):
        return
    yield from itertools.product(*parts)
