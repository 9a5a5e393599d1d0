"""Components: how one is declared, found, described and loaded.

A component is one decorated function in a file of its own name: `tasks/heads/softmax.py` holds `softmax`. Its
keyword-only signature *is* its parameter schema. `describe` reads that from the source without importing it, so that
a spec is checked, and components are listed, without importing torch or running foreign code; `load` imports it, in a
worker.

Components of other packages join through an entry point of the group `attackgrid.<kind>`, or by being named
`package.module:function` in a spec.
"""

import functools
import importlib
import typing
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar

from tasks.declaration import REQUIRED, Description, Parameter, Shared, parsed, read_component, read_shared
from tasks.facts import AttackFacts, DatasetFacts, DefenseFacts, ProbeFacts, declared
from tasks.sources import ComponentSourceError, source_of
from tasks.words import unknown

__all__ = [
    "FOLDERS",
    "REQUIRED",
    "ComponentSourceError",
    "Description",
    "Parameter",
    "UnknownComponentError",
    "built_in",
    "component",
    "describe",
    "every",
    "is_built_in",
    "load",
    "load_prepare",
    "names",
    "origin",
    "shared",
]

F = TypeVar("F", bound=Callable[..., Any])

FOLDERS = {
    "dataset": "datasets",
    "architecture": "architectures",
    "activation": "activations",
    "head": "heads",
    "defense": "defenses",
    "training": "trainings",
    "attack": "attacks",
    "probe": "probes",
}


class UnknownComponentError(LookupError):
    """No component of that kind and name; the message suggests and lists those there are."""


def component(
    kind: str, *, version: int, paper: str = "", added: Mapping[str, object] | None = None, **facts: object
) -> Callable[[F], F]:
    """Declare the decorated function a component. Bump `version` when its numbers change.

    `added`: of each parameter that was added after results had been stored, the constant that it stood for before:
    with that value it is left out of ids, so that what is stored stays. `facts` are those of the kind, in
    `tasks.facts`. Raises TypeError for a fact that is none of the kind's, or of another type.
    """

    def declare(function: F) -> F:
        try:
            declared(kind, facts)
        except ValueError as error:
            raise TypeError(f"{function.__module__}:{function.__qualname__}: {error}") from error
        own = {"kind": kind, "version": version, "paper": paper, "added": added or {}}
        function.__dict__["component"] = {**own, **facts}
        return function

    return declare


def every(kind: str, *, added: Mapping[str, object] | None = None) -> Callable[[F], F]:
    """Declare the keyword-only parameters of a function in `_every.py` those of every component of the kind."""

    def declare(function: F) -> F:
        function.__dict__["every"] = {"kind": kind, "added": added or {}}
        return function

    return declare


def names(kind: str) -> list[str]:
    """The built-in and entry-point components of a kind, sorted."""
    return sorted({*built_in(kind)} | {point.name for point in entry_points(group=f"attackgrid.{kind}")})


@functools.cache
def built_in(kind: str) -> tuple[str, ...]:
    """The components of a kind that have a file here, sorted."""
    return tuple(sorted(path.stem for path in _folder(kind).glob("*.py") if not path.stem.startswith("_")))


@typing.overload
def describe(kind: Literal["attack"], name: str) -> Description[AttackFacts]: ...
@typing.overload
def describe(kind: Literal["dataset"], name: str) -> Description[DatasetFacts]: ...
@typing.overload
def describe(kind: Literal["defense"], name: str) -> Description[DefenseFacts]: ...
@typing.overload
def describe(kind: Literal["probe"], name: str) -> Description[ProbeFacts]: ...
@typing.overload
def describe(kind: str, name: str) -> Description[Any]: ...
def describe(kind: str, name: str) -> Description[Any]:
    """Read a component's declaration from its source.

    Raises UnknownComponentError, or ComponentSourceError where there is no such source or it breaks a rule.
    """
    return _described(kind, name)


@functools.cache
def _described(kind: str, name: str) -> Description[Any]:
    module, function = origin(kind, name)
    place = f"{module}:{function}"
    try:
        return read_component(parsed(source_of(module)), kind, name, place, shared(kind))
    except (TypeError, AttributeError, RecursionError, MemoryError) as error:  # of a source that nobody would write
        raise ComponentSourceError(f"{place[:200]}: its declaration cannot be read ({type(error).__name__})") from error


@functools.cache
def shared(kind: str) -> Shared:
    """The parameters that every component of a kind has beside its own, from the function that acts on them."""
    path = _folder(kind) / "_every.py"
    return read_shared(parsed(path), kind, f"tasks.{FOLDERS[kind]}._every") if path.is_file() else Shared()


def is_built_in(kind: str, name: str) -> bool:
    """Whether a component is of this project: what it says may be run where foreign code may not."""
    return name in built_in(kind)


def load(kind: str, name: str) -> Callable[..., Any]:
    """Import a component's function."""
    module, function = origin(kind, name)
    try:
        loaded = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            raise ComponentSourceError(f"{kind} {name!r}: {error}") from error
        raise
    return typing.cast("Callable[..., Any]", loaded)


def load_prepare(name: str) -> Callable[..., Any]:
    """Import the `prepare` function that stands beside an attack."""
    module = importlib.import_module(load("attack", name).__module__)
    return typing.cast("Callable[..., Any]", module.prepare)


def origin(kind: str, name: str) -> tuple[str, str]:
    """The module and the function of a component. Raises UnknownComponentError."""
    if ":" in name:
        module, _, function = name.partition(":")
        return module, function
    if name in built_in(kind):
        return f"tasks.{FOLDERS[kind]}.{name}", name
    for point in entry_points(group=f"attackgrid.{kind}", name=name):
        return point.module, point.attr
    raise UnknownComponentError(unknown(kind, name, names(kind)))


def _folder(kind: str) -> Path:
    return Path(__file__).parent / FOLDERS[kind]
