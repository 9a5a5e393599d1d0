"""The components a spec names, with their parameters: a name, {name: {parameters}}, or a list of these.

`each:` varies any parameter, and several vary as a product, the first written slowest. What is allowed is read from
the components' signatures. Knows nothing of blocks, of cells, or of what is computed.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from grid.plan.defaults import defaults
from grid.spec.nodes import Node, Report, plain
from grid.values import accept, fractions
from tasks import registry
from tasks.config import COMBINED, Component, Json, canonical
from tasks.registry import REQUIRED, Description
from tasks.words import unknown

MAX_VARIANTS = 100_000
"""How many variants one entry's `each` may make."""


Open = None | bool | int | float | str | list[bool | int | float | str]
"""The type of a parameter that an open component does not declare."""


class Entry(NamedTuple):
    """A component as a spec names it: what it is, where it stands, and the parameters written."""

    found: Description
    node: Node
    key: str
    written: Mapping[str, Node]


class Choice(NamedTuple):
    """One value that a parameter may take, and how the spec spells it."""

    value: Json
    text: str


def components(kind: str, node: Node, key: str, report: Report) -> tuple[Component, ...]:
    """All variants of all components on one axis, each once; those in error are reported and left out."""
    found: dict[str, Component] = {}
    for item, place in alternatives(node, key):
        combined = kind == "defense" and isinstance(item.value, dict) and COMBINED in item.value
        for component in (_combinations if combined else _plain)(kind, item, place, report):
            found.setdefault(canonical(component.resolved()), component)
    return tuple(found.values())


def _plain(kind: str, item: Node, key: str, report: Report) -> Iterator[Component]:
    entry = entry_of(kind, item, key, report)
    for component, _ in variants(entry, {}, (), report) if entry else ():
        yield component


def _combinations(kind: str, item: Node, key: str, report: Report) -> Iterator[Component]:
    """All variants of a combination, `combined: [...]`."""
    children = mapping(item, key, report)
    listed = children[COMBINED]
    if len(children) > 1 or not isinstance(listed.value, list) or len(listed.value) < 2:
        report.add(item, key, f"must be {{{COMBINED}: [...]}}, with at least two components")
        return
    parts = [components(kind, child, place, report) for place, child in listed.items(f"{key}.{COMBINED}")]
    if any(part.name == COMBINED for variants_of_one in parts for part in variants_of_one):
        report.add(item, key, "a combination cannot be part of another: list all of them in one")
        return
    version = registry.describe(kind, COMBINED).version
    for chosen in itertools.product(*parts):
        yield Component(kind, COMBINED, version, {"parts": [dict(part.resolved()) for part in chosen]})


def trainings(node: Node, key: str, report: Report) -> tuple[Component, ...]:
    """The same for `training`, which has one component: a map of its parameters, or a list of such maps."""
    found: dict[str, Component] = {}
    for item, place in alternatives(node, key):
        entry = _entry("training", "standard", item, item, place, report)
        for component, _ in variants(entry, {}, (), report) if entry else ():
            found.setdefault(canonical(component.resolved()), component)
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


def entry_of(kind: str, item: Node, key: str, report: Report) -> Entry | None:
    """One component as a spec names it; reported and None if there is none of the kind."""
    match item.value:
        case str() as name:
            return _entry(kind, name, item, Node(None), key, report)
        case dict() as children if len(children) == 1:
            ((name, given),) = children.items()
            return _entry(kind, name, item, given, f"{key}.{name}", report)
    report.add(item, key, f"must be the name of one {kind}, or {{name: {{parameters}}}}; several are a list")
    return None


def _entry(kind: str, name: str, item: Node, given: Node, key: str, report: Report) -> Entry | None:
    try:
        found = registry.describe(kind, name)
        defaults(kind, name)
    except (registry.UnknownComponentError, registry.ComponentSourceError) as error:
        report.add(item, key.removesuffix(f".{name}"), str(error))
    except (SyntaxError, ValueError) as error:
        report.add(item, key, f"the source of {kind} {name!r} cannot be read: {error}")
    else:
        return Entry(found, item, key, mapping(given, key, report))
    return None


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
        name: choices(types[name], node, f"{entry.key}.{name}", report)
        for name, node in entry.written.items()
        if name in types
    }
    if math.prod(map(len, chosen.values())) > MAX_VARIANTS:
        report.add(entry.node, entry.key, f"more than {MAX_VARIANTS} variants")
        return
    for values in itertools.product(*chosen.values()):
        one = dict(zip(chosen, values, strict=True))
        if all(name in one for name in required):
            yield _component(found, one, also), {name: one[name] for name in also if name in one}


def _component(found: Description, chosen: Mapping[str, Choice], also: Mapping[str, Any]) -> Component:
    given = {name: choice.value for name, choice in chosen.items() if name not in also}
    values = dict(defaults(found.kind, found.name)) | given
    extra = [name for name in given if name not in found.parameters]
    parameters = {name: values[name] for name in [*found.parameters, *sorted(extra)]}
    return Component(found.kind, found.name, found.version, parameters)


def _check_keys(entry: Entry, known: Mapping[str, Any], required: list[str], report: Report) -> None:
    what = f"{entry.found.kind} {entry.found.name!r}"
    for name, node in entry.written.items():
        if name not in known:
            report.add(node, f"{entry.key}.{name}", unknown("parameter", name, known, what))
    for name in required:
        if name not in entry.written:
            report.add(entry.node, f"{entry.key}.{name}", f"{what} needs it")


def choices(kind: Any, node: Node, key: str, report: Report) -> list[Choice]:  # noqa: ANN401 - a typing object
    """The accepted values of one parameter, each once: one, or those of its `each`."""
    items = [(node, key)]
    if isinstance(node.value, dict) and set(node.value) == {"each"}:
        items = alternatives(node.value["each"], f"{key}.each")
        if not isinstance(node.value["each"].value, list) or not items:
            report.add(node, key, "each: takes a list of values")
            return []
    found: dict[str, Choice] = {}
    for item, place in items:
        try:
            value = accept(kind, fractions(plain(item)) if kind is Open else plain(item))
        except ValueError as error:
            report.add(item, place, str(error))
        else:
            found.setdefault(repr(value), Choice(value, item.text))
    return list(found.values())
