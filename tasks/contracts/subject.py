"""The component that is asked to keep its promises: its name, its parameters, and the data that it may read.

Knows nothing of what is promised, nor of how an answer is shown.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tasks import registry
from tasks.config import Component, Value
from tasks.facts import Facts
from tasks.model import make
from tasks.needs import says_it_draws
from tasks.parameters import several
from tasks.registry import REQUIRED, Description
from tasks.types import DataRoot
from tasks.words import unknown

_VALUES: tuple[Any, ...] = (0.1, 2, 1, 0, True, False, [1], [0.1], None)
"""What a parameter is tried with: the first of these that its type allows."""
_PARTS = (Component("defense", "label_smoothing", 1, {"smoothing": 0.1}), Component("defense", "natural", 1))
"""What a parameter is given that is components."""


class BrokenPromiseError(Exception):
    """A promise is broken; the message says what was seen."""


class UnaskedError(Exception):
    """A promise cannot be asked of this component; the message says why."""


def require(kept: object, otherwise: str) -> None:
    """Raise BrokenPromiseError, saying `otherwise`, unless it is kept: anything that is true, or a tensor of that."""
    if not kept:
        raise BrokenPromiseError(otherwise)


@dataclass(frozen=True)
class Subject:
    """A component of a kind, built-in or `package.module:name`; `given` are parameters in place of their defaults.

    `root` is where its data lies, if it is a dataset that has any.
    """

    kind: str
    name: str
    given: Mapping[str, Any] = field(default_factory=dict)
    root: DataRoot = field(default_factory=lambda: DataRoot(Path("data")))

    @cached_property
    def described(self) -> Description[Any]:
        """What its source says. Raises what `registry.describe` raises."""
        return registry.describe(self.kind, self.name)

    @property
    def facts(self) -> Any:  # noqa: ANN401 - of the kind's own class of facts
        """What it declares beside its parameters."""
        facts: Facts = self.described.facts
        return facts

    @cached_property
    def parameters(self) -> dict[str, Value]:
        """All of its parameters: as given, else the default, else the first value that the type allows.

        Raises UnaskedError, naming the parameter, where that cannot be said.
        """
        own = {name: _value(name, each) for name, each in self.described.parameters.items() if name not in self.given}
        return own | dict(self.given)

    @property
    def component(self) -> Component:
        """It and its parameters, as a cell or an attack has them."""
        return Component(self.kind, self.name, self.described.version, self.parameters)

    @property
    def own(self) -> dict[str, Any]:
        """Its parameters without those that all of its kind have."""
        common = registry.shared(self.kind).parameters
        return {name: value for name, value in self.parameters.items() if name not in common}

    def make(self, *given: object) -> Any:  # noqa: ANN401 - what a component makes depends on its kind
        """Call it as the harness does."""
        return make(self.component, *given)

    def having(self, **changed: object) -> "Subject":
        """The same with other parameters, of those that it has."""
        fitting = {name: value for name, value in changed.items() if name in self.described.parameters}
        return replace(self, given=dict(self.given) | fitting)

    def others(self, parameter: str) -> Iterator[Any]:
        """Other values that a parameter may have, in place of the one that it has."""
        kind, value = self.described.parameters[parameter].type, self.parameters[parameter]
        for candidate in (*_literals(kind), *_VALUES):
            if candidate != value and _allowed(kind, candidate):
                yield candidate

    @property
    def draws(self) -> bool:
        """Whether it, or one among its parameters, declares that a model draws numbers when it evaluates."""
        return says_it_draws(self.component)


def kinds_of(name: str) -> list[str]:
    """The kinds of which there is a component of that name.

    Raises UnknownComponentError where there is none, ComponentSourceError where its source breaks a rule.
    """
    kinds: list[str] = []
    errors: list[Exception] = []
    for kind in registry.FOLDERS:
        try:
            registry.describe(kind, name)
        except registry.UnknownComponentError:
            continue
        except registry.ComponentSourceError as error:
            errors.append(error)
        else:
            kinds.append(kind)
    if kinds:
        return kinds
    telling = [error for error in errors if "is not declared with @component" not in str(error)]
    if telling:
        raise telling[0]
    if errors:
        raise registry.ComponentSourceError(f"{name} is not declared with @component")
    known = sorted({each for kind in registry.FOLDERS for each in registry.names(kind)})
    raise registry.UnknownComponentError(unknown("component", name, known))


def _value(name: str, parameter: registry.Parameter) -> Value:
    if parameter.default is not REQUIRED:
        default: Value = parameter.default
        return default
    if several(parameter.type):
        return _PARTS
    for candidate in (*_literals(parameter.type), *_VALUES):
        if candidate is not None and _allowed(parameter.type, candidate):
            value: Value = candidate
            return value
    raise UnaskedError(f"it needs a value for its parameter {name!r}: --set {name}=...")


def _literals(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401 - a type, as typing spells it, is not a class
    """The values of a Literal, alone or in a union."""
    arguments: tuple[Any, ...] = getattr(kind, "__args__", ())
    return tuple(value for value in arguments if isinstance(value, str | bool | int | float))


def _allowed(kind: Any, value: object) -> bool:  # noqa: ANN401 - as above
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
