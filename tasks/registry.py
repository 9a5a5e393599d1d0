"""Components: how one is declared, found, described and loaded.

A component is one decorated function in a file of its own name: `tasks/heads/softmax.py` holds `softmax`. Its
keyword-only signature *is* its parameter schema. `describe` reads that from the source without importing it, so that
a spec is checked, and components are listed, without importing torch; `load` imports it, in a worker.

Components of other packages join through an entry point of the group `attackgrid.<kind>`, or by being named
`package.module:function` in a spec.
"""

import ast
import functools
import importlib
import importlib.util
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar

from tasks import parameters as parameter_types
from tasks.config import CELL_PARTS
from tasks.words import unknown

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
SHARED = {"dataset": "mixed", "architecture": "extended", "activation": "placed"}
"""The functions whose parameters every component of a kind has beside its own; in `_every.py` of the kind's folder."""
REQUIRED = object()
"""The default of a parameter that has none."""


class UnknownComponentError(LookupError):
    """No component of that kind and name; the message suggests and lists those there are."""


class ComponentSourceError(ValueError):
    """A component's source does not keep the rules of a declaration; the message says which."""


@dataclass(frozen=True)
class Parameter:
    """One keyword-only parameter: its type as typing sees it, as the source spells it, and its default."""

    type: Any
    text: str
    default: Any


@dataclass(frozen=True)
class Description:
    """What is known of a component from its source alone.

    `facts` are the other keywords of its decorator, such as an attack's `norms`. An `open` one ends with
    `**parameters` and takes any further ones.
    """

    kind: str
    name: str
    version: int
    summary: str
    doc: str
    paper: str
    parameters: Mapping[str, Parameter]
    facts: Mapping[str, Any]
    origin: str
    open: bool = False


def component(kind: str, *, version: int, paper: str = "", **facts: object) -> Callable[[F], F]:
    """Declare the decorated function a component. Bump `version` when its numbers change.

    Facts of an attack: `norms` (tuple of norm names; the first is the default), `budget` ("eps" needs an eps;
    "minimal" looks for the nearest adversarial point, and an eps only says how near is success; "either" is the one
    or the other), `knowledge` ("white-box", "score", "decision" or "none"), `targeting` (tuple of "untargeted" and
    "targeted"; the first is the default), `leaves_budget` ({parameter: value} under which the published procedure is
    known to leave its ball), and `prepared` (true where the file has a function `prepare`, of the same parameters).
    Of a part of a cell: `stochastic` (true where the model draws numbers when it evaluates, or {parameter: values}
    under which it does) and `evaluation` (tuple of the parameters that matter only when the trained model is
    evaluated).
    Of a probe: `sourced` (true where it perturbs images, and takes the model to perturb them for after the streams).
    Of a defense: `base` ({parameter: value} of the cell that is trained before, whose model this one learns from).
    """

    def declare(function: F) -> F:
        function.__dict__["component"] = {"kind": kind, "version": version, "paper": paper, **facts}
        return function

    return declare


def names(kind: str) -> list[str]:
    """The built-in and entry-point components of a kind, sorted."""
    folder = Path(__file__).parent / FOLDERS[kind]
    built_in = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    return sorted(built_in | {point.name for point in entry_points(group=f"attackgrid.{kind}")})


@functools.cache
def describe(kind: str, name: str) -> Description:
    """Read a component's declaration from its source.

    Raises UnknownComponentError, or ComponentSourceError where the source breaks a rule.
    """
    module, function = _locate(kind, name)
    path = _source(module)
    if path is None:
        raise _unknown(kind, name)
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return _describe(kind, name, node, f"{module}:{function}")
    raise ComponentSourceError(f"{path}: no function {function!r}")


@functools.cache
def shared(kind: str) -> Mapping[str, Parameter]:
    """The parameters that every component of a kind has beside its own, from the function that acts on them."""
    if kind not in SHARED:
        return {}
    path = Path(__file__).parent / FOLDERS[kind] / "_every.py"
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    return _parameters(functions[SHARED[kind]], f"tasks.{FOLDERS[kind]}._every:{SHARED[kind]}")


def load(kind: str, name: str) -> Callable[..., Any]:
    """Import a component's function."""
    module, function = _locate(kind, name)
    try:
        loaded = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            raise _unknown(kind, name) from error
        raise
    return typing.cast("Callable[..., Any]", loaded)


def load_prepare(name: str) -> Callable[..., Any]:
    """Import the `prepare` function that stands beside an attack."""
    module = importlib.import_module(load("attack", name).__module__)
    return typing.cast("Callable[..., Any]", module.prepare)


def _locate(kind: str, name: str) -> tuple[str, str]:
    if ":" in name:
        module, _, function = name.partition(":")
        return module, function
    if (Path(__file__).parent / FOLDERS[kind] / f"{name}.py").is_file() and name.isidentifier():
        return f"tasks.{FOLDERS[kind]}.{name}", name
    for point in entry_points(group=f"attackgrid.{kind}", name=name):
        return point.module, point.attr
    raise _unknown(kind, name)


def _source(module: str) -> Path | None:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(found.origin) if found and found.origin else None


def _unknown(kind: str, name: str) -> UnknownComponentError:
    return UnknownComponentError(unknown(kind, name, names(kind)))


def _describe(kind: str, name: str, node: ast.FunctionDef, origin: str) -> Description:
    decorator = next((d for d in node.decorator_list if _is_component(d)), None)
    if not isinstance(decorator, ast.Call) or ast.literal_eval(decorator.args[0]) != kind:
        raise ComponentSourceError(f"{origin} is not declared with @component({kind!r}, ...)")
    facts = {k.arg: ast.literal_eval(k.value) for k in decorator.keywords if k.arg}
    doc = ast.get_docstring(node) or ""
    own = _parameters(node, origin)
    if taken := sorted(own.keys() & shared(kind).keys()):
        raise ComponentSourceError(f"{origin}: every {kind} has the parameters {taken} already")
    for parameter, declared in own.items():
        if parameter_types.several(declared.type) and (kind not in CELL_PARTS or declared.default is not REQUIRED):
            raise ComponentSourceError(
                f"{origin}: parameter {parameter!r} is components: only a part of a cell can have it, without a default"
            )
    return Description(
        kind=kind,
        name=name,
        version=facts.pop("version"),
        paper=facts.pop("paper", ""),
        summary=doc.partition("\n")[0],
        doc=doc,
        parameters={**own, **shared(kind)},
        facts=facts,
        origin=origin,
        open=node.args.kwarg is not None,
    )


def _is_component(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and ast.unparse(decorator.func).split(".")[-1] == "component"


def _parameters(node: ast.FunctionDef, origin: str) -> dict[str, Parameter]:
    found = {}
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if argument.annotation is None:
            raise ComponentSourceError(f"{origin}: parameter {argument.arg!r} has no type")
        found[argument.arg] = Parameter(
            type=_type(argument.annotation, origin),
            text=ast.unparse(argument.annotation),
            default=REQUIRED if default is None else ast.literal_eval(default),
        )
    return found


_SIMPLE = {"int": int, "float": float, "bool": bool, "str": str}


def _type(node: ast.expr, origin: str) -> Any:  # noqa: ANN401 - a type, as typing spells it, is not a class
    """The typing object of an annotation, from a closed set of forms; nothing is evaluated."""
    match node:
        case ast.Name(id=name) if name in _SIMPLE:
            return _SIMPLE[name]
        case ast.Name(id=name) if name[0].isupper() and hasattr(parameter_types, name):
            return getattr(parameter_types, name)
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type(left, origin) | _type(right, origin)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return list[_type(inner, origin)]  # type: ignore[misc] # a type made at run time
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            values = ast.literal_eval(inner)
            return Literal[values if isinstance(values, tuple) else (values,)]
    raise ComponentSourceError(f"{origin}: parameters cannot have the type {ast.unparse(node)!r}")
