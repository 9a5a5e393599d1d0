"""What a spec may name, as tables: components, read from their sources without importing them, and shipped specs."""

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


def component(kind: str, name: str) -> tuple[dict[str, Any], pa.Table]:
    """All that is known of one component, and a row per parameter. Raises UsageError if there is none."""
    try:
        found = registry.describe(_singular(kind), name)
    except (registry.UnknownComponentError, registry.ComponentSourceError) as error:
        raise UsageError(str(error)) from error
    facts = {"kind": found.kind, "name": found.name, "version": found.version, "paper": found.paper}
    about = {key: _words(value) for key, value in found.facts.items()}
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
    """A shipped spec: the comment it opens with, and its profiles."""
    text = (shipped.folder() / f"{name}.yaml").read_text(encoding="utf-8")
    root = parse(text, name, Report(name))
    profiles = root.value.get("profiles") if root and isinstance(root.value, dict) else None
    named = list(profiles.value) if profiles and isinstance(profiles.value, dict) else []
    opening = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    return {"name": name, "profiles": ", ".join(named), "summary": opening[0] if opening else ""}


def _ensemble(name: str) -> dict[str, str]:
    """A ready cascade, with what all its members share."""
    members = [
        (registry.describe("attack", attack), own) for member in ENSEMBLES[name] for attack, own in member.items()
    ]
    facts = [found.facts for found, _ in members]
    said = " then ".join(f"{found.name}({', '.join(f'{k}={v}' for k, v in own.items())})" for found, own in members)
    return {
        "name": name,
        "knowledge": ", ".join(dict.fromkeys(each["knowledge"] for each in facts)),
        "norms": ", ".join(norm for norm in facts[0]["norms"] if all(norm in each["norms"] for each in facts)),
        "targeting": "untargeted",
        "budget": "eps",
        "parameters": "",
        "summary": f"Cascade: {said}",
        "paper": members[0][0].paper,
    }


def _row(found: Description) -> dict[str, str]:
    row = {"name": found.name}
    if found.kind == "attack":
        row |= {fact: _words(found.facts.get(fact, "")) for fact in _ATTACK_FACTS}
    return {**row, "parameters": _parameters(found), "summary": found.summary, "paper": found.paper}


def _words(fact: object) -> str:
    return ", ".join(fact) if isinstance(fact, tuple) else str(fact)


def _parameters(found: Description) -> str:
    return ", ".join(
        name if parameter.default is REQUIRED else f"{name}={parameter.default!r}"
        for name, parameter in found.parameters.items()
    )
