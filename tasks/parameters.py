"""The types that a component's keyword-only parameters may have.

Beside these: `int`, `float`, `bool`, `str`, `list[...]`, `Literal[...]` and `... | None`. A parameter is written once,
in the signature; the spec loader reads it from there.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt

Positive = Annotated[float, Gt(0)]
"""A real number above zero."""
Radius = Annotated[float, Gt(0), Le(1e6)]
"""A distance between images, above zero: far beyond any two, and far below where float32 ends."""
NonNegative = Annotated[float, Ge(0)]
"""A real number, zero or above."""
Share = Annotated[float, Ge(0), Le(1)]
"""A share of something, 0 to 1."""
Rate = Annotated[float, Ge(0), Lt(1)]
"""A share that may not be all, such as a dropout rate."""
Count = Annotated[int, Ge(1)]
"""How many: 1 or more."""
CountOrZero = Annotated[int, Ge(0)]
"""How many: 0 or more."""


@dataclass(frozen=True)
class Several:
    """Marks the type of a parameter that is components of a kind, two or more.

    A spec writes them as it writes any list of components, and the function is given what they make: the kind is one
    whose components take nothing but their own parameters, such as defenses.
    """

    kind: str


Defenses = Annotated[list[Any], Several("defense")]
"""Two or more defenses, each a `tasks.training.objective.Defense`."""


def several(kind: Any) -> Several | None:  # noqa: ANN401 - a type, as typing spells it, is not a class
    """Of which kind a parameter's components are; None for a type of plain values."""
    return next((mark for mark in getattr(kind, "__metadata__", ()) if isinstance(mark, Several)), None)
