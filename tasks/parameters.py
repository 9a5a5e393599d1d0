"""The types that a component's keyword-only parameters may have.

Beside these: `int`, `float`, `bool`, `str`, `list[...]`, `Literal[...]` and `... | None`. A parameter is written once,
in the signature; the spec loader reads it from there.
"""

from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt

Positive = Annotated[float, Gt(0)]
"""A real number above zero."""
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
Parts = list[dict[str, Any]]
"""Resolved components, as those of a combination; a spec writes them as it writes any component."""
