"""The attacks a spec names: their parameters, their budgets, how the harness uses them, and cascades of them.

An entry is a name, {name: {parameters}}, the name of a ready ensemble, or {cascade: true, attacks: [...]}. Knows
nothing of blocks, of cells, or of what is computed.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

from grid.plan.asked import Asked
from grid.spec.components import (
    Choice,
    Entry,
    alternatives,
    choices,
    components,
    entry_of,
    mapping,
    trainings,
    variants,
)
from grid.spec.ensembles import ENSEMBLES
from grid.spec.nodes import Node, Report, moved, plain
from grid.values import accept
from tasks.config import CELL_PARTS, Attack, Budget, Component, Json, Norm, Space
from tasks.parameters import Count, CountOrZero, Positive
from tasks.words import unknown

HARNESS_KEYS: dict[str, Any] = {
    "eps": Positive,
    "norm": Norm,
    "space": Space,
    "box": bool,
    "samples": Count,
    "targets": Literal["all"] | CountOrZero | list[CountOrZero],
    "eot": Count,
    "draws": Count,
    "attacked": Literal["correct", "all"],
    "source": None,
}
"""The keys of an attack's map that are the harness's own, and their types. No parameter may have such a name.

`source` is a map of its own: what the cell that the attack looks at has in place of the cell it is judged on.
"""
SOURCE_KEYS = (*CELL_PARTS, "seed")
"""What a source may differ in."""
DRAWS = 10
"""Draws of a stochastic model that a white-box attack averages, and draws that decide, where the spec does not say."""

_BUDGET = ("eps", "norm", "space", "box")
_CASCADE_KEYS = ("cascade", "name", "attacks", *HARNESS_KEYS)


def attacks(node: Node, key: str, report: Report) -> tuple[Asked, ...]:
    """All variants of all attacks, with their budgets; those in error are reported and left out."""
    return tuple(wanted for item, place in alternatives(node, key) for wanted in _entry(item, place, report))


def _entry(item: Node, key: str, report: Report) -> Iterator[Asked]:
    children = item.value if isinstance(item.value, dict) else {}
    if "cascade" in children:
        yield from _cascade(item, children, key, report)
        return
    name, given = item.value, Node(None, item.line, item.origin)
    if len(children) == 1:
        ((name, given),) = children.items()
    if isinstance(name, str) and name in ENSEMBLES:
        members = moved(_tree(ENSEMBLES[name]), item.line, item.origin)
        own = mapping(given, f"{key}.{name}", report)
        spelt = {"cascade": Node(value=True), "name": Node(name), "attacks": members}
        taken = own.keys() & spelt.keys()
        if taken:
            report.add(own[min(taken)], f"{key}.{name}.{min(taken)}", "cannot be said of a ready ensemble")
        yield from _cascade(item, {**own, **spelt}, f"{key}.{name}", report)
        return
    entry = entry_of("attack", item, key, report)
    if entry and _is_usable(entry, report):
        yield from _wanted(entry, report)


def _wanted(entry: Entry, report: Report) -> Iterator[Asked]:
    facts = entry.found.facts
    norms, targeting = tuple(facts["norms"]), facts.get("targeting", ("untargeted",))
    types = {key: kind for key, kind in HARNESS_KEYS.items() if key != "source"} | {"norm": Literal[norms]}
    required = ("eps",) if facts["budget"] == "eps" else ()
    written = dict(entry.written)
    sources = sources_of(written.pop("source", None), f"{entry.key}.source", report)
    for component, chosen in variants(entry._replace(written=written), types, required, report):
        values: dict[str, Any] = {name: choice.value for name, choice in chosen.items()}
        targets = _targets(values.get("targets"), targeting)
        if problem := _wrong_aim(targets, targeting):
            report.add(entry.written.get("targets", entry.node), f"{entry.key}.targets", problem)
            continue
        budget = Budget(
            norm=values.get("norm", norms[0]),
            eps=values.get("eps"),
            space=values.get("space", "pixel"),
            box=values.get("box", True),
            beyond=_beyond(component, facts),
        )
        usual = DRAWS if facts.get("knowledge") == "white-box" else 1
        attack = Attack(
            component,
            budget,
            targets,
            eot=values.get("eot", usual),
            draws=values.get("draws", DRAWS),
            attacked=values.get("attacked", "correct"),
            eps_label=chosen["eps"].text if "eps" in chosen else "",
        )
        for source in sources:
            yield Asked(attack, values.get("samples"), source)


def _is_usable(entry: Entry, report: Report) -> bool:
    """Whether an attack declares what the harness must know of it; what the spec gets wrong is only reported."""
    facts, what = entry.found.facts, f"attack {entry.found.name!r}"
    taken = sorted(HARNESS_KEYS.keys() & entry.found.parameters.keys())
    norms, budget = facts.get("norms", ()), facts.get("budget")
    if taken or not norms or not set(norms) <= set(get_args(Norm)) or budget not in {"eps", "minimal", "either"}:
        declared = f"parameters {taken}" if taken else f"norms {norms!r} and budget {budget!r}"
        report.add(entry.node, entry.key, f"{what} cannot be used: it declares {declared}")
        return False
    if "eps" not in entry.written and budget == "eps":
        report.add(entry.node, f"{entry.key}.eps", f"{what} needs an eps, such as 8/255")
    return True


def _beyond(component: Component, facts: Mapping[str, Any]) -> Literal["error", "failure", "allowed"]:
    """What an image beyond eps is."""
    leaves = facts.get("leaves_budget")
    if leaves is not None and all(component.parameters.get(name) == value for name, value in leaves.items()):
        return "allowed"
    return "failure" if facts["budget"] == "minimal" else "error"


def _targets(value: Json, targeting: tuple[str, ...]) -> tuple[int, ...] | Literal["all"] | None:
    match value:
        case None:
            return None if "untargeted" in targeting else "all"
        case int():
            return (value,)
        case list():
            return tuple(dict.fromkeys(item for item in value if isinstance(item, int)))
    return "all"


def _wrong_aim(targets: tuple[int, ...] | str | None, targeting: tuple[str, ...]) -> str:
    if targets == ():
        return "is an empty list: name the classes, or all"
    if targets is not None and "targeted" not in targeting:
        return "this attack cannot aim at a class"
    return ""


def sources_of(node: Node | None, key: str, report: Report) -> list[tuple[tuple[str, Component | int], ...]]:
    """Every combination of what a source may have in place of the cell's own parts."""
    if node is None:
        return [()]
    axes: dict[str, tuple[Component | int, ...]] = {}
    children = mapping(node, key, report)
    for kind, child in children.items():
        place = f"{key}.{kind}"
        if kind == "training":
            axes[kind] = trainings(child, place, report)
        elif kind == "seed":
            axes[kind] = tuple(
                seed for item, at in alternatives(child, place) if (seed := _seed(item, at, report)) is not None
            )
        elif kind in CELL_PARTS:
            axes[kind] = components(kind, child, place, report)
        else:
            report.add(child, place, unknown("part of a cell", kind, SOURCE_KEYS))
    if not children:
        report.add(node, key, f"says nothing: name what the source has instead, of {', '.join(SOURCE_KEYS)}")
    return [tuple(zip(axes, chosen, strict=True)) for chosen in itertools.product(*axes.values())]


def _seed(node: Node, key: str, report: Report) -> int | None:
    try:
        seed = accept(CountOrZero, plain(node))
    except ValueError as error:
        report.add(node, key, str(error))
        return None
    assert isinstance(seed, int)  # noqa: S101 - what accept promises
    return seed


def _cascade(item: Node, children: Mapping[str, Node], key: str, report: Report) -> Iterator[Asked]:
    """Every variant of a cascade. What is said beside its members is said of all of them."""
    for name, child in children.items():
        if name not in _CASCADE_KEYS:
            report.add(child, f"{key}.{name}", unknown("key", name, _CASCADE_KEYS, "a cascade"))
    if children["cascade"].value is not True or not _is_list(children.get("attacks")):
        report.add(item, key, "must be {cascade: true, attacks: [...]}, with at least one attack")
        return
    title = children.get("name", Node("")).value
    shared = {name: children[name] for name in HARNESS_KEYS if name in children and name != "source"}
    given = {name: choices(HARNESS_KEYS[name], node, f"{key}.{name}", report) for name, node in shared.items()}
    sources = sources_of(children.get("source"), f"{key}.source", report)
    for values in itertools.product(*given.values()):
        chosen = dict(zip(given, values, strict=True))
        members = [
            member
            for child, place in alternatives(children["attacks"], f"{key}.attacks")
            for member in _member(child, place, chosen, shared, report)
        ]
        if not members:
            return
        first = _attack(members[0])
        label = chosen["eps"].text if "eps" in chosen else first.eps_label
        then = tuple(map(_attack, members[1:]))
        attack = replace(first, then=then, title=str(title), eps_label=label)
        for source in sources:
            yield Asked(attack, members[0].samples, source)


def _attack(asked: Asked) -> Attack:
    assert isinstance(asked.under, Attack)  # noqa: S101 - what _wanted makes
    return asked.under


def _member(
    item: Node, key: str, chosen: Mapping[str, Choice], shared: Mapping[str, Node], report: Report
) -> Iterator[Asked]:
    """One member of a cascade, with what is said of all members."""
    entry = entry_of("attack", item, key, report)
    if entry is None:
        return
    own = entry.written.keys() & (HARNESS_KEYS.keys() - set(_BUDGET))
    for name in sorted(own):
        report.add(entry.written[name], f"{entry.key}.{name}", "is said of the whole cascade, beside its `attacks`")
    if entry.found.facts.get("prepared"):
        report.add(item, key, f"attack {entry.found.name!r} has a prepare step: it cannot be part of a cascade")
        return
    said = {name: replace(shared[name], value=_tree(choice.value).value) for name, choice in chosen.items()}
    said = {name: replace(node, text=chosen[name].text) for name, node in said.items()}
    full = entry._replace(written={**{n: v for n, v in said.items() if n not in own}, **entry.written})
    if _is_usable(full, report):
        found = list(_wanted(full, report))
        if len(found) > 1:
            report.add(item, key, "a member of a cascade cannot vary: write `each` beside its `attacks`")
        yield from found[:1]


def _is_list(node: Node | None) -> bool:
    return node is not None and isinstance(node.value, list) and bool(node.value)


def _tree(value: Any) -> Node:  # noqa: ANN401 - any plain value
    match value:
        case list() | tuple():
            return Node([_tree(child) for child in value])
        case dict():
            return Node({key: _tree(child) for key, child in value.items()})
    return Node(value, text=str(value))
