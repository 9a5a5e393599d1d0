"""What components there are, as a table: read from their sources, without importing them."""

import pyarrow as pa

from grid.errors import UsageError
from grid.spec.ensembles import ENSEMBLES
from tasks import registry
from tasks.registry import REQUIRED, Description

_ATTACK_FACTS = ("knowledge", "norms", "targeting", "budget")


def components(kind: str) -> pa.Table:
    """One row per component of a kind, which may be named in the plural. Raises UsageError for an unknown kind."""
    folders = {folder: name for name, folder in registry.FOLDERS.items()}
    singular = folders.get(kind, kind)
    if singular not in registry.FOLDERS:
        raise UsageError(f"no kind of component {kind!r}. There are: {', '.join(sorted(folders))}")
    rows = [_row(registry.describe(singular, name)) for name in registry.names(singular)]
    if singular == "attack":
        rows += [_ensemble(name) for name in ENSEMBLES]
    return pa.Table.from_pylist(rows)


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
