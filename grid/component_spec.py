"""The components a spec names, with their parameters: a name, {name: {parameters}}, or a list of these.

`each:` varies any parameter, and several vary as a product, the first written slowest. What is allowed is read from
the components' signatures. Knows nothing of blocks, of cells, or of what is computed.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args

from grid.blocks import WantedAttack
from grid.nodes import Node, Report, plain, unknown
from grid.values import accept
from tasks import registry
from tasks.config import Attack, Budget, Component, Json, Norm, Space, canonical
from tasks.parameters import Count, Positive
from tasks.registry import REQUIRED, Description

HARNESS_KEYS = ("eps", "norm", "space", "box", "samples")
"""The keys of an attack's map that are the harness's own: no attack's parameter may have such a name."""
MAX_VARIANTS = 100_000
"""How many variants one entry's `each` may make."""


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
    for entry in _entries(kind, node, key, report):
        for component, _ in _variants(entry, {}, report):
            found.setdefault(canonical(component.resolved()), component)
    return tuple(found.values())


def trainings(node: Node, key: str, report: Report) -> tuple[Component, ...]:
    """The same for `training`, which has one component: a map of its parameters, or a list of such maps."""
    found: dict[str, Component] = {}
    for item, place in alternatives(node, key):
        entry = _entry("training", "standard", item, item, place, report)
        for component, _ in _variants(entry, {}, report) if entry else ():
            found.setdefault(canonical(component.resolved()), component)
    return tuple(found.values())


def attacks(node: Node, key: str, report: Report) -> tuple[WantedAttack, ...]:
    """All variants of all attacks, with their budgets."""
    return tuple(
        wanted
        for entry in _entries("attack", node, key, report)
        if _is_usable(entry, report)
        for wanted in _wanted_attacks(entry, report)
    )


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


@functools.cache
def defaults(kind: str, name: str) -> Mapping[str, Json]:
    """A component's defaults, each as its type spells it. Raises ComponentSourceError where one is not of its type."""
    found = {}
    description = registry.describe(kind, name)
    for parameter, declared in description.parameters.items():
        if declared.default is not REQUIRED:
            try:
                found[parameter] = accept(declared.type, declared.default)
            except ValueError as error:
                message = f"{description.origin}: the default of {parameter!r} {error}"
                raise registry.ComponentSourceError(message) from error
    return found


def _entries(kind: str, node: Node, key: str, report: Report) -> Iterator[Entry]:
    for item, place in alternatives(node, key):
        match item.value:
            case str() as name:
                entry = _entry(kind, name, item, Node(None), place, report)
            case dict() as children if len(children) == 1:
                ((name, given),) = children.items()
                entry = _entry(kind, name, item, given, f"{place}.{name}", report)
            case _:
                message = f"must be the name of one {kind}, or {{name: {{parameters}}}}; several are a list"
                report.add(item, place, message)
                continue
        if entry:
            yield entry


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


def _variants(entry: Entry, also: Mapping[str, Any], report: Report) -> Iterator[tuple[Component, dict[str, Choice]]]:
    """Every variant of an entry, with the harness's own keys (their types in `also`) beside it."""
    found = entry.found
    types = {**{name: parameter.type for name, parameter in found.parameters.items()}, **also}
    required = _required(found, also)
    _check_keys(entry, types, required, report)
    choices = {
        name: _choices(types[name], node, f"{entry.key}.{name}", report)
        for name, node in entry.written.items()
        if name in types
    }
    if math.prod(map(len, choices.values())) > MAX_VARIANTS:
        report.add(entry.node, entry.key, f"more than {MAX_VARIANTS} variants")
        return
    for values in itertools.product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        if all(name in chosen for name in required):
            yield _component(found, chosen), {name: chosen[name] for name in also if name in chosen}


def _component(found: Description, chosen: Mapping[str, Choice]) -> Component:
    values = dict(defaults(found.kind, found.name)) | {name: choice.value for name, choice in chosen.items()}
    parameters = {name: values[name] for name in found.parameters}
    return Component(found.kind, found.name, found.version, parameters)


def _required(found: Description, also: Mapping[str, Any]) -> list[str]:
    own = [name for name, parameter in found.parameters.items() if parameter.default is REQUIRED]
    return [*own, "eps"] if "eps" in also else own


def _check_keys(entry: Entry, known: Mapping[str, Any], required: list[str], report: Report) -> None:
    what = f"{entry.found.kind} {entry.found.name!r}"
    for name, node in entry.written.items():
        if name not in known:
            report.add(node, f"{entry.key}.{name}", unknown("parameter", name, known, what))
    for name in required:
        if name not in entry.written:
            report.add(entry.node, f"{entry.key}.{name}", f"{what} needs it")


def _choices(kind: Any, node: Node, key: str, report: Report) -> list[Choice]:  # noqa: ANN401 - a typing object
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
            value = accept(kind, plain(item))
        except ValueError as error:
            report.add(item, place, str(error))
        else:
            found.setdefault(repr(value), Choice(value, item.text))
    return list(found.values())


def _is_usable(entry: Entry, report: Report) -> bool:
    """Whether an attack declares what the harness must know of it; what the spec gets wrong is only reported."""
    facts, what = entry.found.facts, f"attack {entry.found.name!r}"
    taken = sorted(set(HARNESS_KEYS) & set(entry.found.parameters))
    norms, budget = facts.get("norms", ()), facts.get("budget")
    if taken or not norms or not set(norms) <= set(get_args(Norm)) or budget not in {"eps", "minimal"}:
        declared = f"parameters {taken}" if taken else f"norms {norms!r} and budget {budget!r}"
        report.add(entry.node, entry.key, f"{what} cannot be used: it declares {declared}")
        return False
    eps = entry.written.get("eps")
    if eps and budget == "minimal":
        report.add(eps, f"{entry.key}.eps", f"{what} takes no eps: it looks for the nearest adversarial point")
    elif not eps and budget == "eps":
        report.add(entry.node, f"{entry.key}.eps", f"{what} needs an eps, such as 8/255")
    return True


def _wanted_attacks(entry: Entry, report: Report) -> Iterator[WantedAttack]:
    facts = entry.found.facts
    norms = tuple(facts["norms"])
    types = {"norm": Literal[norms], "space": Space, "box": bool, "samples": Count}
    if facts["budget"] == "eps":
        types = {"eps": Positive, **types}
    for component, chosen in _variants(entry, types, report):
        values: dict[str, Any] = {name: choice.value for name, choice in chosen.items()}
        samples = values.pop("samples", None)
        eps = values.pop("eps", None)
        enforced = not _leaves_budget(component, facts.get("leaves_budget"))
        budget = Budget(values.pop("norm", norms[0]), eps, enforced=enforced, **values)
        label = chosen["eps"].text if "eps" in chosen else ""
        yield WantedAttack(Attack(component, budget, label), samples)


def _leaves_budget(component: Component, when: Mapping[str, Json] | None) -> bool:
    return when is not None and all(component.parameters.get(name) == value for name, value in when.items())
