"""One value against the type its place declares: accepted in its one spelling, or refused in plain words.

Strict: 3.0 and true and "3" are no whole numbers. A whole number or a fraction (8/255) where a real one is wanted
becomes real, so that 1 and 1.0 have one id. Knows nothing of components or YAML.
"""

import functools
import math
import re
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import TypeAdapter, ValidationError

from tasks.config import Json
from tasks.words import did_you_mean

_DECIMAL = r"([0-9]+\.?[0-9]*|\.[0-9]+)"
FRACTION = rf"\s*[-+]?{_DECIMAL}\s*/\s*{_DECIMAL}\s*"
"""A text that is a number: 8/255, also 8 / 255, 8./255. and .5/2."""
_FRACTION = re.compile(FRACTION)
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}
_BOUNDS = {Gt: ("above", "gt"), Ge: ("at least", "ge"), Lt: ("below", "lt"), Le: ("at most", "le")}


def accept(kind: Any, value: Json) -> Json:  # noqa: ANN401 - a type, as typing spells it, is not a class
    """The value as its type spells it. Raises ValueError that says what would be right."""
    for candidate in (value, fractions(value)):
        try:
            accepted: Json = _adapter(kind).validate_python(candidate, strict=True)
        except ValidationError:
            continue
        return accepted
    raise ValueError(f"must be {words(kind)}, not {_spell(value)}{_closest(kind, value)}")


def is_accepted(kind: Any, value: Json) -> bool:  # noqa: ANN401 - as above
    """Whether `accept` takes it."""
    try:
        accept(kind, value)
    except ValueError:
        return False
    return True


def fractions(value: Json) -> Json:
    """The value with texts such as 8/255, also within lists, replaced by their numbers."""
    if isinstance(value, list):
        return [fractions(item) for item in value]
    if not isinstance(value, str) or not _FRACTION.fullmatch(value):
        return value
    above, below = (float(part) for part in value.split("/"))
    number = above / below if below else math.inf
    return number + 0.0 if math.isfinite(number) else value


def words(kind: Any) -> str:  # noqa: ANN401 - as above
    """A type in plain words: `list[Annotated[int, Ge(1)]]` is "a list, each a whole number, at least 1"."""
    arguments = get_args(kind)
    match get_origin(kind):
        case _ if kind in _WORDS:
            return _WORDS[kind]
        case origin if origin is Annotated:
            bounds = [_bound(limit) for limit in arguments[1:] if type(limit) in _BOUNDS]
            return f"{words(arguments[0])}, {' and '.join(bounds)}" if bounds else words(arguments[0])
        case origin if origin is Literal:
            return "one of " + ", ".join(map(_spell, arguments)) if len(arguments) > 1 else _spell(arguments[0])
        case origin if origin is list:
            return f"a list, each {words(arguments[0])}"
        case origin if origin in {Union, UnionType}:
            return " or ".join(words(argument) for argument in arguments)
    return str(kind)


def _bound(limit: Any) -> str:  # noqa: ANN401 - as above
    word, attribute = _BOUNDS[type(limit)]
    return f"{word} {getattr(limit, attribute)}"


def _spell(value: object) -> str:
    match value:
        case None | bool():
            return "null" if value is None else str(value).lower()
        case dict():
            return "a map"
    return repr(value)


def _closest(kind: Any, value: Json) -> str:  # noqa: ANN401 - as above
    hint = did_you_mean(str(value), _texts(kind)) if isinstance(value, str | int) else ""
    return f".{hint}" if hint else ""


def _texts(kind: Any) -> list[str]:  # noqa: ANN401 - as above
    """The texts that a type allows one of."""
    if get_origin(kind) is Literal:
        return [option for option in get_args(kind) if isinstance(option, str)]
    return [text for argument in get_args(kind) for text in _texts(argument)]


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - as above
    return TypeAdapter(kind)
