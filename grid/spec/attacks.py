"""The attacks a spec names: their parameters, their budgets, how the harness uses them, and cascades of them.

An entry is a name, {name: {parameters}}, the name of a ready ensemble, or {cascade: true, attacks: [...]}. Knows
nothing of blocks, of cells, or of what is computed.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from grid.plan.asked import Asked
from grid.plan.defaults import attack_defaults
from grid.spec.components import Entry, alternatives, choices, entry_of, mapping, variants
from grid.spec.doubts import doubt_budget
from grid.spec.ensembles import BESIDE, ENSEMBLES, VERSIONS
from grid.spec.keys import BUDGET_KEYS, CASCADE_KEYS, HARNESS_KEYS, SOURCE
from grid.spec.nodes import Node, Report, moved, text_of
from grid.spec.sources import sources_of, split_source
from tasks import registry
from tasks.cases import Attack, Budget
from tasks.config import Component, Json
from tasks.facts import AttackFacts
from tasks.peer_names import unknown_attack
from tasks.words import closest, unknown


def attacks(node: Node, key: str, report: Report) -> tuple[Asked, ...]:
    """All variants of all attacks, with their budgets; those in error are reported and left out."""
    found: list[Asked] = []
    for item, place in alternatives(node, key):
        for wanted in _entry(item, place, report):
            report.stands(key, wanted.text, item, place)
            found.append(wanted)
    return tuple(found)


def _entry(item: Node, key: str, report: Report) -> Iterator[Asked]:
    children = item.value if isinstance(item.value, dict) else {}
    name, given = item.value, Node(None, item.line, item.origin)
    if len(children) == 1:
        ((name, given),) = children.items()
    if "cascade" in children:
        yield from _cascade(item, children, key, report)
    elif isinstance(name, str) and name in ENSEMBLES:
        yield from _ensemble(item, name, given, f"{key}.{name}", report)
    elif isinstance(name, str) and _means_ensemble(name):
        report.add(item, key, unknown("attack", name, [*registry.names("attack"), *ENSEMBLES]))
    else:
        entry = entry_of("attack", item, key, report)
        if entry and _is_usable(entry, report):
            yield from _wanted(entry, report)


def _means_ensemble(name: str) -> bool:
    """Whether a word that names no ready ensemble is nearer to one than to any attack."""
    return closest(name, ENSEMBLES) is not None and closest(name, [*registry.names("attack"), *ENSEMBLES]) in ENSEMBLES


def _wanted(entry: Entry, report: Report) -> Iterator[Asked]:
    own, sources = split_source(entry, report)
    for attack, samples in _variants(own, report):
        doubt_budget(attack.budget, entry.written.get("eps", entry.node), entry.place("eps"), report)
        if not report.has_room(len(sources) - 1, entry.node, entry.key):
            return
        for source in sources:
            yield Asked(attack, samples, source)


def _variants(entry: Entry, report: Report) -> Iterator[tuple[Attack, int | None]]:
    """Every variant of an entry without a source, and how many samples it wants for itself."""
    facts: AttackFacts = entry.found.facts
    types = {**HARNESS_KEYS, "norm": Literal[facts.norms]}
    needed = ("eps",) if facts.budget == "eps" else ()
    for component, chosen in variants(entry, types, needed, report):
        if problem := unknown_attack(component):
            report.add(entry.written.get("attack", entry.node), entry.place("attack"), problem)
            continue
        values = attack_defaults(facts) | {name: choice.value for name, choice in chosen.items()}
        targets = _targets(values["targets"])
        if problem := _wrong_aim(targets, facts):
            report.add(entry.written.get("targets", entry.node), entry.place("targets"), problem)
            continue
        attack = Attack(
            component,
            Budget(values["norm"], values.get("eps"), values["space"], values["box"], _beyond(component, facts)),
            targets,
            eot=values["eot"],
            draws=values["draws"],
            attacked=values["attacked"],
            eps_label=chosen["eps"].text if "eps" in chosen else "",
        )
        yield attack, values.get("samples")


def _is_usable(entry: Entry, report: Report) -> bool:
    """Whether no parameter of an attack has the name of a key of the harness; a missing eps is only reported."""
    what = f"attack {entry.found.name!r}"
    if taken := sorted({*HARNESS_KEYS, SOURCE} & entry.found.parameters.keys()):
        report.add(entry.node, entry.key, f"{what} cannot be used: it declares parameters {taken}")
        return False
    if "eps" not in entry.written and entry.found.facts.budget == "eps":
        report.add(entry.node, f"{entry.key}.eps", f"{what} needs an eps, such as 8/255")
    return True


def _beyond(component: Component, facts: AttackFacts) -> Literal["error", "failure", "allowed"]:
    """What an image beyond eps is."""
    if facts.may_leave(component.parameters):
        return "allowed"
    return "failure" if facts.budget == "minimal" else "error"


def _targets(value: Json) -> tuple[int, ...] | Literal["all"] | None:
    match value:
        case None:
            return None
        case int():
            return (value,)
        case list():
            return tuple(dict.fromkeys(item for item in value if isinstance(item, int)))
    return "all"


def _wrong_aim(targets: tuple[int, ...] | str | None, facts: AttackFacts) -> str:
    if targets == ():
        return "is an empty list: name the classes, or all"
    if targets is not None and "targeted" not in facts.targeting:
        return "this attack cannot aim at a class"
    return ""


def _ensemble(item: Node, name: str, given: Node, key: str, report: Report) -> Iterator[Asked]:
    """A ready cascade with what a spec says beside its name."""
    own = mapping(given, key, report)
    if name in VERSIONS and "version" in own:
        version, known = own.pop("version"), VERSIONS[name]
        if version.value not in known:
            report.add(version, f"{key}.version", unknown("version", str(version.value), known))
        name = known.get(str(version.value), name)
    members = moved(_tree(ENSEMBLES[name]), item.line, item.origin)
    spelt = {"cascade": Node(value=True), "name": Node(name), "attacks": members}
    if taken := own.keys() & spelt.keys():
        report.add(own[min(taken)], f"{key}.{min(taken)}", "cannot be said of a ready ensemble")
    usual = dict(moved(_tree(BESIDE.get(name, {})), item.line, item.origin).items())
    yield from _cascade(item, {**usual, **own, **spelt}, key, report)


def _cascade(item: Node, children: Mapping[str, Node], key: str, report: Report) -> Iterator[Asked]:
    """Every variant of a cascade. What is said beside its members is said of all of them."""
    for name, child in children.items():
        if name not in CASCADE_KEYS:
            report.add(child, f"{key}.{name}", unknown("key", name, CASCADE_KEYS, "a cascade"))
    listed = children.get("attacks", Node(None))
    if children["cascade"].value is not True or not isinstance(listed.value, list) or not listed.value:
        report.add(item, key, "must be {cascade: true, attacks: [...]}, with at least one attack")
        return
    title = text_of(children.get("name"), f"{key}.name", report)
    sources = sources_of(children.get(SOURCE), f"{key}.{SOURCE}", report)
    for said in _shared(children, key, report):
        members = [_member(child, place, said, report) for child, place in alternatives(listed, f"{key}.attacks")]
        found = [member for member in members if member]
        if not found:
            return
        (first, samples), *others = found
        label = said["eps"].text if "eps" in said else first.eps_label
        if not report.has_room(len(sources) - 1, item, key):
            return
        attack = replace(first, then=tuple(other for other, _ in others), title=title, eps_label=label)
        for each in (attack, *attack.then):
            doubt_budget(each.budget, said.get("eps", item), f"{key}.eps", report)
        for source in sources:
            yield Asked(attack, samples, source)


def _shared(children: Mapping[str, Node], key: str, report: Report) -> Iterator[dict[str, Node]]:
    """Every variant of what is said of all members."""
    shared = {name: children[name] for name in HARNESS_KEYS if name in children}
    given = [choices(HARNESS_KEYS[name], node, f"{key}.{name}", report) for name, node in shared.items()]
    if not report.has_room(math.prod(map(len, given)), children["cascade"], key):
        return
    for values in itertools.product(*given):
        yield {
            name: replace(node, value=_tree(choice.value).value, text=choice.text)
            for (name, node), choice in zip(shared.items(), values, strict=True)
        }


def _member(item: Node, key: str, said: Mapping[str, Node], report: Report) -> tuple[Attack, int | None] | None:
    """One member of a cascade, with what is said of all members; None if it is in error."""
    entry = entry_of("attack", item, key, report)
    if entry is None:
        return None
    for name in sorted(entry.written.keys() & ({*HARNESS_KEYS, SOURCE} - {*BUDGET_KEYS})):
        report.add(entry.written[name], entry.place(name), "is said of the whole cascade, beside its `attacks`")
    if entry.found.facts.prepared:
        report.add(item, key, f"attack {entry.found.name!r} has a prepare step: it cannot be part of a cascade")
        return None
    full = entry._replace(written={**said, **entry.written})
    found = list(_variants(full, report)) if _is_usable(full, report) else []
    if len(found) > 1 or any(map(_is_varied, entry.written.values())):
        report.add(item, key, "a member of a cascade cannot vary: write `each` beside its `attacks`")
    return found[0] if found else None


def _is_varied(node: Node) -> bool:
    """Whether a value is an `each` of several, also where these are all the same."""
    values = node.value["each"].value if isinstance(node.value, dict) and "each" in node.value else []
    return isinstance(values, list) and len(values) > 1


def _tree(value: Any) -> Node:  # noqa: ANN401 - any plain value
    match value:
        case list() | tuple():
            return Node([_tree(child) for child in value])
        case dict():
            return Node({key: _tree(child) for key, child in value.items()})
    return Node(value, text=str(value))
