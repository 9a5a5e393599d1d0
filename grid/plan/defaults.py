"""What an id has where a spec says nothing: defaults of components, as their types spell them, and of the harness."""

import functools
from collections.abc import Mapping
from typing import Any

from grid.values import accept
from tasks import registry
from tasks.cases import Attack, Budget
from tasks.config import Json, canonical
from tasks.facts import AttackFacts
from tasks.registry import REQUIRED, Description

USUAL = {"activation": "relu", "head": "softmax", "defense": "natural", "training": "standard"}
"""The component that a cell has of a kind where the spec names none."""
UNNAMED = frozenset({"training"})
"""The kinds whose usual component goes without its name: its parameters alone stand for it, as they do in labels."""
DRAWS = 10
"""Draws of a stochastic model that an attack averages where it sees scores, and draws that decide, by default."""


@functools.cache
def defaults(kind: str, name: str) -> Mapping[str, Json]:
    """A component's defaults, each as its type spells it. Raises ComponentSourceError where one is not of its type."""
    description = registry.describe(kind, name)
    return {
        parameter: _accepted(description, parameter, declared.default, "the default")
        for parameter, declared in description.parameters.items()
        if declared.default is not REQUIRED
    }


@functools.cache
def added(kind: str, name: str) -> Mapping[str, Json]:
    """The constants that parameters which came later stood for before, each as its type spells it.

    Raises ComponentSourceError where one is not of its type.
    """
    description = registry.describe(kind, name)
    return {
        parameter: _accepted(description, parameter, constant, "what is added")
        for parameter, constant in description.added.items()
    }


def _accepted(description: Description[Any], parameter: str, value: Json, what: str) -> Json:
    try:
        accepted = accept(description.parameters[parameter].type, value)
        canonical(accepted)  # whose ValueError says what no id can have: numbers that are not finite
    except ValueError as error:
        raise registry.ComponentSourceError(f"{description.origin}: {what} of {parameter!r} {error}") from error
    return accepted


def attack_defaults(facts: AttackFacts) -> dict[str, Any]:
    """What the harness takes of an attack with such facts where the spec does not say."""
    return {
        "norm": facts.norms[0],
        "space": Budget.space,
        "box": Budget.box,
        "targets": None if "untargeted" in facts.targeting else "all",
        "eot": DRAWS if facts.knowledge in {"white-box", "score"} else 1,
        "draws": DRAWS,
        "attacked": Attack.attacked,
    }
