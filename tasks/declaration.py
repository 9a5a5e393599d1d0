"""A component's declaration as its source has it: name, version, facts, and the parameters of its signature.

Nothing of the source is run: facts and defaults are literals, types come from a closed set of forms. Knows nothing of
where sources lie or of which components there are.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_origin

from pydantic import TypeAdapter, ValidationError

from tasks import parameters as parameter_types
from tasks.config import CELL_PARTS
from tasks.facts import Facts, ModelFacts, declared
from tasks.sources import ComponentSourceError
from tasks.words import unknown

REQUIRED = object()
"""The default of a parameter that has none."""

FactsOf_co = TypeVar("FactsOf_co", bound=Facts, covariant=True)


@dataclass(frozen=True)
class Parameter:
    """One keyword-only parameter: its type as typing sees it, as the source spells it, and its default."""

    type: Any
    text: str
    default: Any

    def spelt(self, value: object) -> Any:  # noqa: ANN401 - whatever the type is of
        """A value as the type spells it, so that 1 and 1.0 have one id; as it is where it is none of the type."""
        try:
            return TypeAdapter(self.type).validate_python(value, strict=True)
        except ValidationError:
            return value


@dataclass(frozen=True)
class Description(Generic[FactsOf_co]):
    """What is known of a component from its source alone.

    `added`: of parameters that came later, the constant that each stood for before. An `open` one ends with
    `**parameters` and takes any further ones.
    """

    kind: str
    name: str
    version: int
    summary: str
    doc: str
    paper: str
    parameters: Mapping[str, Parameter]
    facts: FactsOf_co
    origin: str
    added: Mapping[str, Any] = field(default_factory=dict)
    open: bool = False


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a source. Raises ComponentSourceError where it cannot be read."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except OSError as error:
        raise ComponentSourceError(f"{path} cannot be read: {error.strerror}") from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ComponentSourceError(f"{path} is no Python source: {error}") from error


def read_component(tree: ast.Module, kind: str, name: str, origin: str, shared: "Shared") -> Description[Any]:
    """Describe the component that `origin`, "module:function", names. Raises ComponentSourceError."""
    node = function_named(tree, origin.partition(":")[2], origin)
    keywords = _keywords(node, kind, "component", origin)
    own = _parameters(node, origin)
    _check_parameters(own, shared, kind, origin)
    version, paper, added = keywords.pop("version", None), keywords.pop("paper", ""), keywords.pop("added", {})
    if not isinstance(paper, str):
        raise ComponentSourceError(f"{origin}: paper must be text, such as a link")
    if type(version) is not int or version < 1:
        raise ComponentSourceError(f"{origin}: version must be a whole number, at least 1")
    _check_added(added, own, origin)
    has_prepare = any(isinstance(each, ast.FunctionDef) and each.name == "prepare" for each in tree.body)
    if keywords.get("prepared") and not has_prepare:
        raise ComponentSourceError(f"{origin} is declared prepared, but its file has no function 'prepare'")
    try:
        facts = declared(kind, keywords)
    except ValueError as error:
        raise ComponentSourceError(f"{origin}: {error}") from error
    _check_facts(facts, {**own, **shared.parameters}, origin)
    doc = ast.get_docstring(node) or ""
    return Description(
        kind=kind,
        name=name,
        version=version,
        paper=paper,
        summary=doc.partition("\n")[0],
        doc=doc,
        parameters={**own, **shared.parameters},
        facts=facts,
        origin=origin,
        added={**shared.added, **added},
        open=node.args.kwarg is not None,
    )


@dataclass(frozen=True)
class Shared:
    """The parameters that every component of a kind has beside its own."""

    function: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    added: Mapping[str, Any] = field(default_factory=dict)


def read_shared(tree: ast.Module, kind: str, module: str) -> Shared:
    """What the function that is decorated with `@every(kind)` says. Raises ComponentSourceError."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and any(_calls(each, "every") for each in node.decorator_list):
            origin = f"{module}:{node.name}"
            added = _keywords(node, kind, "every", origin).get("added", {})
            parameters = _parameters(node, origin)
            _check_added(added, parameters, origin)
            return Shared(node.name, parameters, added)
    raise ComponentSourceError(f"{module} has no function that is declared with @every({kind!r})")


def function_named(tree: ast.Module, name: str, origin: str) -> ast.FunctionDef:
    """A function at the top of a source. Raises ComponentSourceError if there is none of that name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise ComponentSourceError(f"{origin.partition(':')[0]} has no function {name[:60]!r}")


def literal(node: ast.expr, origin: str, what: str) -> Any:  # noqa: ANN401 - any literal
    """The value of an expression that is one without being run. Raises ComponentSourceError."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ComponentSourceError(f"{origin}: {what} must be written out, not {_text(node)!r}") from error


def _text(node: ast.expr) -> str:
    try:
        return ast.unparse(node)[:80]
    except RecursionError:
        return "that"


def _keywords(node: ast.FunctionDef, kind: str, decorator: str, origin: str) -> dict[str, Any]:
    """The keywords of a function's decorator."""
    call = next((each for each in node.decorator_list if _calls(each, decorator)), None)
    if not isinstance(call, ast.Call) or [literal(each, origin, "the kind") for each in call.args] != [kind]:
        raise ComponentSourceError(f"{origin} is not declared with @{decorator}({kind!r}, ...)")
    if any(keyword.arg is None for keyword in call.keywords):
        raise ComponentSourceError(f"{origin}: facts must be written out, not given by **")
    return {keyword.arg: literal(keyword.value, origin, keyword.arg) for keyword in call.keywords if keyword.arg}


def _calls(decorator: ast.expr, name: str) -> bool:
    return isinstance(decorator, ast.Call) and ast.unparse(decorator.func).split(".")[-1] == name


def _check_parameters(own: Mapping[str, Parameter], shared: Shared, kind: str, origin: str) -> None:
    if taken := sorted(own.keys() & shared.parameters.keys()):
        raise ComponentSourceError(f"{origin}: every {kind} has the parameters {taken} already")
    for name, parameter in own.items():
        if parameter_types.several(parameter.type) and (kind not in CELL_PARTS or parameter.default is not REQUIRED):
            raise ComponentSourceError(
                f"{origin}: parameter {name!r} is components: only a part of a cell can have it, without a default"
            )


def _check_facts(facts: Facts, parameters: Mapping[str, Parameter], origin: str) -> None:
    """What facts say of parameters is of ones that there are, and of values that these can have."""
    for name in facts.evaluation if isinstance(facts, ModelFacts) else ():
        if name in parameters and parameters[name].default is REQUIRED:
            raise ComponentSourceError(f"{origin}: evaluation names {name!r}, which has no default")
    for name, values in facts.about():
        if name not in parameters:
            raise ComponentSourceError(f"{origin}: facts name a parameter: {unknown('parameter', name, parameters)}")
        for value in values:
            try:
                TypeAdapter(parameters[name].type).validate_python(value, strict=True)
            except ValidationError as error:
                message = f"{origin}: facts speak of {name}={value!r}, which cannot be: {error.errors()[0]['msg']}"
                raise ComponentSourceError(message) from error


def _check_added(added: object, own: Mapping[str, Parameter], origin: str) -> None:
    """A parameter that came later has a default: specs that were written before do not name it."""
    if not isinstance(added, dict):
        raise ComponentSourceError(f"{origin}: added must be {{parameter: the constant it stood for before}}")
    for name in added:
        if name not in own or own[name].default is REQUIRED:
            raise ComponentSourceError(f"{origin}: added names {name!r}, which is no parameter with a default")


def _parameters(node: ast.FunctionDef, origin: str) -> dict[str, Parameter]:
    found = {}
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if argument.annotation is None:
            raise ComponentSourceError(f"{origin}: parameter {argument.arg!r} has no type")
        usual = REQUIRED if default is None else literal(default, origin, f"the default of {argument.arg!r}")
        type_ = _type(argument.annotation, origin)
        found[argument.arg] = Parameter(type=type_, text=ast.unparse(argument.annotation), default=usual)
    return found


_SIMPLE = {"int": int, "float": float, "bool": bool, "str": str}


def _type(node: ast.expr, origin: str) -> Any:  # noqa: ANN401 - a type, as typing spells it, is not a class
    """The typing object of an annotation, from a closed set of forms; nothing is evaluated."""
    match node:
        case ast.Name(id=name) if name in _SIMPLE:
            return _SIMPLE[name]
        case ast.Name(id=name) if get_origin(getattr(parameter_types, name, None)) is Annotated:
            return getattr(parameter_types, name)
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[_type(left, origin), _type(right, origin)]  # noqa: UP007 - made at run time, of None as well
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return list[_type(inner, origin)]  # type: ignore[misc] # a type made at run time
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            values = literal(inner, origin, "the values of Literal")
            options = values if isinstance(values, tuple) else (values,)
            if options and all(isinstance(option, str | int | bool | None) for option in options):
                return Literal[options]
    raise ComponentSourceError(f"{origin}: parameters cannot have the type {ast.unparse(node)[:80]!r}")
