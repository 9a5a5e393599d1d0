"""Which attacks other libraries have, read from their sources: a spec is checked without importing any of them."""

import ast
import functools

from tasks.config import Component
from tasks.declaration import parsed
from tasks.sources import ComponentSourceError, source_of
from tasks.words import did_you_mean

MODULES = {"art": "art.attacks.evasion", "foolbox": "foolbox.attacks", "torchattacks": "torchattacks"}
"""The adapters, and the module in which each looks for the class that its parameter `attack` names."""


def unknown_attack(component: Component) -> str:
    """What is wrong with the name that an adapter is given, or nothing; nothing of any other attack."""
    module = MODULES.get(component.name)
    known = known_attacks(module) if module else None
    name = component.parameters.get("attack")
    if not known or name in known:
        return ""
    close = did_you_mean(str(name), known)
    return f"{module} has no attack {name!r}.{close or ' Known: ' + ', '.join(sorted(known))}"


@functools.cache
def known_attacks(module: str) -> frozenset[str] | None:
    """The names at the top of a module that begin as classes do: its attacks, and perhaps more.

    None where they cannot be told without importing it, or it is not installed.
    """
    try:
        tree = parsed(source_of(module))
    except ComponentSourceError:
        return None
    names = {name for node in _statements(tree.body) for name in _names(node)}
    return None if "*" in names else frozenset(name for name in names if name[:1].isupper())


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of a module, those under its conditions too."""
    found = []
    for node in body:
        found.append(node)
        for part in ("body", "orelse", "handlers", "finalbody"):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found += _statements(getattr(node, part, []))
    return found


def _names(node: ast.stmt) -> list[str]:
    """What a statement gives a name to."""
    match node:
        case ast.ImportFrom(names=imported):
            return [each.asname or each.name for each in imported]
        case ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
    return []
