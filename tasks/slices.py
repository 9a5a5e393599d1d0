"""One function of a module of this project, with what of the module it uses, run without the rest of the module.

So `check` can ask what a component refuses and need not import torch, which the component computes with. Only for
sources that are part of this project: it runs them.
"""

import __future__

import ast
import builtins
import functools
from collections.abc import Callable, Iterator
from typing import Any

from tasks.declaration import parsed
from tasks.sources import source_of


@functools.cache
def function_from(module: str, name: str) -> Callable[..., Any] | None:
    """A function at the top of a module; None if there is none of that name. Its annotations are not evaluated."""
    path = source_of(module)
    tree = parsed(path)
    bound = {named: part for node in tree.body for named, part in _bindings(node)}
    if not isinstance(bound.get(name), ast.FunctionDef):
        return None
    used = _used(name, bound)
    body = [part for named, part in bound.items() if named in used]
    code = compile(
        ast.Module(sorted(body, key=lambda part: part.lineno), type_ignores=[]),
        str(path),
        "exec",
        flags=__future__.annotations.compiler_flag,
        dont_inherit=True,
    )
    namespace: dict[str, Any] = {"__builtins__": builtins, "__name__": module}
    exec(code, namespace)  # noqa: S102 - a part of this project's own module, in place of importing all of it
    function: Callable[..., Any] = namespace[name]
    return function


def _bindings(node: ast.stmt) -> Iterator[tuple[str, ast.stmt]]:
    """The names that a statement at the top of a module binds, each with the statement that binds no other."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name, node
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            yield name, node
        case ast.Import(names=names):
            for alias in names:
                yield (alias.asname or alias.name).partition(".")[0], ast.copy_location(ast.Import([alias]), node)
        case ast.ImportFrom(module=module, names=names, level=level):
            for alias in names:
                yield alias.asname or alias.name, ast.copy_location(ast.ImportFrom(module, [alias], level), node)


def _used(name: str, bound: dict[str, ast.stmt]) -> set[str]:
    """The name, and those that what it is bound to uses, and so on; what stands in an annotation is not used."""
    used: set[str] = set()
    left = [name]
    while left:
        current = left.pop()
        if current in bound and current not in used:
            used.add(current)
            left += _names(bound[current])
    return used


def _names(node: ast.AST) -> Iterator[str]:
    """The names that a statement reads; those of a function's own parameters and variables are none of the module's."""
    if isinstance(node, ast.FunctionDef):
        yield from {*_read(node)} - _own(node)
    else:
        yield from _read(node)


def _read(node: ast.AST) -> Iterator[str]:
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.Name):
                yield child.id
            if isinstance(child, ast.AST):
                yield from _read(child)


def _own(function: ast.FunctionDef) -> set[str]:
    arguments = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    within = (node for statement in function.body for node in ast.walk(statement) if isinstance(node, ast.Name))
    return arguments | {node.id for node in within if isinstance(node.ctx, ast.Store)}
