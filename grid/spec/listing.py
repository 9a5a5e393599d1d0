"""What a spec may name, as tables: components, read from their sources without importing them, and shipped specs."""

import itertools
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pyarrow as pa

from grid.errors import UsageError
from grid.spec import shipped
from grid.spec.ensembles import ENSEMBLES
from grid.spec.nodes import Report
from grid.spec.strict_yaml import parse
from tasks import registry
from tasks.registry import REQUIRED, Description
from tasks.words import unknown

_ATTACK_FACTS = ("knowledge", "norms", "targeting", "budget")
_FOLDERS = {folder: kind for kind, folder in registry.FOLDERS.items()}


def rows(kind: str) -> pa.Table:
    """One row per component of a kind, which may be named in the plural, or per shipped spec.

    Raises UsageError for an unknown kind.
    """
    if kind in {"spec", "specs"}:
        return pa.Table.from_pylist([_spec(name) for name in shipped.names()])
    singular = _singular(kind)
    found = [_row(registry.describe(singular, name)) for name in registry.names(singular)]
    if singular == "attack":
        found += [_ensemble(name) for name in ENSEMBLES]
    return pa.Table.from_pylist(found)


def one(kind: str, name: str) -> tuple[dict[str, Any], pa.Table]:
    """All that is known of one component or shipped spec, and a row per parameter, member or profile.

    Raises UsageError if there is none of that name.
    """
    if kind in {"spec", "specs"}:
        return _one_spec(name)
    if _singular(kind) == "attack" and name in ENSEMBLES:
        rows = [
            {"member": attack, "parameters": _spelt(own)} for each in ENSEMBLES[name] for attack, own in each.items()
        ]
        return {"kind": "attack", **_ensemble(name), "doc": ""}, pa.Table.from_pylist(rows)
    try:
        found = registry.describe(_singular(kind), name)
    except (registry.UnknownComponentError, registry.ComponentSourceError) as error:
        raise UsageError(str(error)) from error
    facts = {"kind": found.kind, "name": found.name, "version": found.version, "paper": found.paper}
    said = {fact.name: getattr(found.facts, fact.name) for fact in fields(found.facts)}
    about = {name: _words(value) for name, value in said.items() if value}
    parameters = [
        {"parameter": name, "type": each.text, "default": "" if each.default is REQUIRED else repr(each.default)}
        for name, each in found.parameters.items()
    ]
    columns = pa.schema([(column, pa.string()) for column in ("parameter", "type", "default")])
    return {**facts, **about, "origin": found.origin, "doc": found.doc}, pa.Table.from_pylist(parameters, columns)


def _singular(kind: str) -> str:
    singular = _FOLDERS.get(kind, kind)
    if singular not in registry.FOLDERS:
        raise UsageError(unknown("kind", kind, [*_FOLDERS, "specs"]))
    return singular


def _spec(name: str) -> dict[str, str]:
    """A shipped spec in one row."""
    opening, profiles = _opening(name)
    return {"name": name, "profiles": ", ".join(profiles), "summary": opening[0] if opening else ""}


def _one_spec(name: str) -> tuple[dict[str, Any], pa.Table]:
    if name not in shipped.names():
        raise UsageError(unknown("shipped spec", name, shipped.names()))
    opening, profiles = _opening(name)
    facts = {"kind": "spec", "name": name, "path": str(shipped.path_named(name)), "doc": "\n".join(opening)}
    return facts, pa.table({"profile": pa.array(profiles, pa.string())})


def _opening(name: str) -> tuple[list[str], list[str]]:
    """The comment that a shipped spec opens with, and the names of its profiles."""
    text = shipped.path_named(name).read_text(encoding="utf-8")
    root = parse(text, name, Report(name))
    profiles = root.value.get("profiles") if root and isinstance(root.value, dict) else None
    comment = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    named = list(profiles.value) if profiles and isinstance(profiles.value, dict) else []
    return [line.removeprefix("#").strip() for line in comment], named


def _ensemble(name: str) -> dict[str, str]:
    """A ready cascade, with what all its members share."""
    members = [
        (registry.describe("attack", attack), own) for member in ENSEMBLES[name] for attack, own in member.items()
    ]
    facts = [found.facts for found, _ in members]
    said = " then ".join(f"{found.name}({_spelt(own)})" for found, own in members)
    return {
        "name": name,
        "knowledge": ", ".join(dict.fromkeys(each.knowledge for each in facts)),
        "norms": ", ".join(norm for norm in facts[0].norms if all(norm in each.norms for each in facts)),
        "targeting": "untargeted",
        "budget": "eps",
        "parameters": "",
        "summary": f"Cascade: {said}",
        "paper": members[0][0].paper,
    }


def _row(found: Description[Any]) -> dict[str, str]:
    row = {"name": found.name}
    if found.kind == "attack":
        row |= {fact: _words(getattr(found.facts, fact)) for fact in _ATTACK_FACTS}
    return {**row, "parameters": _parameters(found), "summary": found.summary, "paper": found.paper}


def _spelt(parameters: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parameters.items())


def _words(fact: object) -> str:
    if isinstance(fact, Mapping):
        return "; ".join(f"{name}: {_words(value)}" for name, value in fact.items())
    return ", ".join(map(str, fact)) if isinstance(fact, tuple) else str(fact)


def _parameters(found: Description[Any]) -> str:
    return ", ".join(
        name if parameter.default is REQUIRED else f"{name}={parameter.default!r}"
        for name, parameter in found.parameters.items()
    )
