"""What a cell or a case needs, as its components declare it: another cell or a prepare step before, random draws.

Pure: knows no models and no files.
"""

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple, cast

from tasks import registry
from tasks.cases import Attack, Case
from tasks.config import CELL_PARTS, Cell, Component, Json
from tasks.facts import FACTS, DefenseFacts, ModelFacts, TrainingFacts

MODEL_PARTS = tuple(kind for kind in CELL_PARTS if issubclass(FACTS[kind], ModelFacts))
"""The parts of a cell that its model is made of."""


class Base(NamedTuple):
    """The cell that is trained before, and what is taken from it.

    "weights": all of them; only how it is evaluated differs, and nothing is trained. "start": the weights to begin
    with. "teacher": the model that is learned from.
    """

    cell: Cell
    role: Literal["weights", "start", "teacher"]


def settled(cell: Cell) -> Cell:
    """The cell, in whose id stands what its training watches only where that decides something.

    That is not so where nothing adds to the head's loss, which then is all that there is to watch, nor where the
    training decides nothing by what it watches. Whoever puts a cell together settles it.
    """
    training = settled_training(cell.training, adding=any(_adds(getattr(cell, kind)) for kind in MODEL_PARTS))
    return cell if training is cell.training else replace(cell, training=training)


@functools.lru_cache(maxsize=10_000)
def settled_training(training: Component, *, adding: bool) -> Component:
    """A training as cells have it: `adding`, whether a part of the cell adds to the head's loss."""
    described = registry.describe("training", training.name)
    if not described.facts.unwatched or "watch" not in training.parameters:
        return training
    before = described.added.get("watch") if adding and is_watching(training) else training.parameters["watch"]
    return replace(training, added={**training.added, "watch": cast("Json", before)})


def is_watching(training: Component) -> bool:
    """Whether a training decides something by what it watches."""
    facts: TrainingFacts = registry.describe("training", training.name).facts
    return facts.watches(training.parameters)


@functools.lru_cache(maxsize=100_000)
def _adds(component: Component) -> bool:
    parts = (component, *component.parts)
    return any(registry.describe(part.kind, part.name).facts.adds(part.parameters) for part in parts)


def base_of(cell: Cell) -> Base | None:
    """The base of a cell, if it has one."""
    trained = trained_as(cell)
    if trained != cell:
        return Base(settled(trained), "weights")
    if cell.training.parameters.get("natural_epochs"):
        natural = _with_defaults("defense", "natural")
        epochs = {"epochs": cell.training.parameters["natural_epochs"], "natural_epochs": 0}
        return Base(settled(replace(cell, defense=natural, training=_with(cell.training, epochs))), "start")
    teacher = _changed(cell.defense, "base")
    return None if teacher == cell.defense else Base(settled(replace(cell, defense=teacher)), "teacher")


def trained_as(cell: Cell) -> Cell:
    """The cell whose training gives this one its weights: itself, unless it is evaluated otherwise than trained."""
    changed: dict[str, Any] = {}
    for kind in CELL_PARTS:
        own: Component = getattr(cell, kind)
        usual = _changed(own, "evaluation")
        if usual != own:
            changed[kind] = usual
    return replace(cell, **changed) if changed else cell


def is_prepared(case: Case) -> bool:
    """Whether the case's attack has a prepare step, whose result has to be there before any sample."""
    return isinstance(case.under, Attack) and _has_prepare_step(case.under.component.name)


def draws(cell: Cell) -> bool:
    """Whether a part of the cell says that its model draws numbers when it evaluates."""
    return any(says_it_draws(getattr(cell, kind)) for kind in MODEL_PARTS)


def stopping(attack: Attack, *, draws: bool, seen: bool, transfer: bool) -> Literal["look", "confirmed", "never"]:
    """What the harness says where an attack asks when a sample is finished: see `tasks.counted`.

    `draws`: whether the judged model draws; `transfer`: whether the attack looks at another, and `seen` whether what it
    looks at draws. A cascade always asks on a model that draws: what one member has fooled, the next does not attack.
    """
    stops = {_stops(component.name) for component in attack.components}
    if True not in stops and not ("drawing" in stops and seen) and not (attack.then and draws):
        return "look"
    return "never" if transfer else "confirmed" if draws else "look"


@functools.cache
def _stops(attack: str) -> bool | Literal["drawing"]:
    return registry.describe("attack", attack).facts.stops


@functools.lru_cache(maxsize=100_000)
def says_it_draws(component: Component) -> bool:
    """Whether a component, or one among its parameters, says that it draws: always, or under some values."""
    for part in (component, *component.parts):
        described = registry.describe(part.kind, part.name)
        said = described.facts.stochastic if isinstance(described.facts, ModelFacts) else False
        usual = {name: parameter.default for name, parameter in described.parameters.items()}
        given = {**usual, **part.parameters}
        if said is True or (said and any(given[name] in values for name, values in said.items())):
            return True
    return False


@functools.cache
def _has_prepare_step(attack: str) -> bool:
    return registry.describe("attack", attack).facts.prepared


@functools.cache
def _with_defaults(kind: str, name: str) -> Component:
    described = registry.describe(kind, name)
    known = described.parameters
    usual = {each: parameter.spelt(parameter.default) for each, parameter in known.items()}
    constants = {each: known[each].spelt(constant) for each, constant in described.added.items()}
    return Component(kind, name, described.version, usual, constants)


@functools.lru_cache(maxsize=100_000)
def _changed(component: Component, fact: str) -> Component:
    """A component, and those among its parameters, with the values that a fact gives some of the parameters.

    It is an equal component where nothing changes, which a grid of a million cells asks for often.
    """
    of_parts = {
        name: tuple(_changed(part, fact) for part in value)
        for name, value in component.parameters.items()
        if isinstance(value, tuple)
    }
    values = {**of_parts, **_values(component.kind, component.name, fact)}
    is_changed = any(component.parameters.get(name) != value for name, value in values.items())
    return _with(component, values) if is_changed else component


@functools.cache
def _values(kind: str, name: str, fact: str) -> Mapping[str, Any]:
    """What a component's "base" says, or the defaults of what its "evaluation" names."""
    described = registry.describe(kind, name)
    said: Mapping[str, Any] = {}
    if fact == "base":
        said = described.facts.base if isinstance(described.facts, DefenseFacts) else {}
    elif isinstance(described.facts, ModelFacts):
        said = {each: described.parameters[each].default for each in described.facts.evaluation}
    return {each: described.parameters[each].spelt(value) for each, value in said.items()}


def _with(component: Component, values: Mapping[str, Any]) -> Component:
    return replace(component, parameters={**component.parameters, **values})
