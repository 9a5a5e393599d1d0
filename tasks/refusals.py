"""What cannot go together, as the components themselves say it: asked before anything runs, and again by what runs.

A component's file may have a function `refuses(*, ...)` beside it, which gives a reason for each thing that cannot be.
It takes, by name, what it wants to know: the component's own parameters; of an attack its budget (`norm`, `eps`,
`space`, `box`) and `targets`; and of the cell what PART_OF lists. What is not known, because the dataset or the
architecture does not say it, is left to the function's default; without a default the function is not asked. An
architecture's file may also have `widths(*, ...)`: the units or channels at each of its activations, in order, from its
own parameters and the `shape` of what it is given.

Knows nothing of specs or models. Foreign code is run only where `foreign` says so: in a worker.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

from tasks import registry
from tasks.cases import Attack, Probe
from tasks.config import CELL_PARTS, SETTINGS, Component
from tasks.facts import chosen
from tasks.slices import function_from
from tasks.sources import RAISED
from tasks.words import unknown

_OF_DATASET = ("shape", "classes", "samples", "train_samples")
PART_OF: Mapping[str, tuple[str, ...]] = {
    **{kind: (kind,) for kind in (*CELL_PARTS, *SETTINGS)},
    **dict.fromkeys(_OF_DATASET, ("dataset",)),
    "widths": ("dataset", "architecture"),
}
"""What may be known of a cell, and the parts that it depends on.

By the name of its kind, a part of the cell, as `Part`; its `inputs` and its `initialisation`, as text; as the dataset
declares them `shape`, which is (channels, height, width), `classes`, `samples` (of the test split) and `train_samples`;
the `widths` of the architecture.
"""
Beside: TypeAlias = Mapping[str, Component | str]
"""What is known of a cell beside a component: components by their kinds, and settings by their names."""
OF_ATTACK = ("norm", "eps", "space", "box", "targets")
"""What may be known of an attack: its budget, and what it aims at."""


class Part(NamedTuple):
    """A component as another one sees it; `facts` are those of its kind, of `tasks.facts`.

    `parts` are the components among its parameters, such as those that a combination is made of.
    """

    name: str
    parameters: Mapping[str, Any]
    facts: Any
    parts: tuple["Part", ...] = ()

    @property
    def all(self) -> tuple["Part", ...]:
        """Itself and its parts."""
        return (self, *self.parts)


class Refuser(NamedTuple):
    """A function `refuses`, and the names that it takes, each with whether it has a default."""

    function: Callable[..., Any]
    takes: Mapping[str, bool]

    def reasons(self, known: Mapping[str, object]) -> list[str]:
        """Why what is known cannot be; nothing where something that the function must know is not."""
        if any(name not in known for name, has_default in self.takes.items() if not has_default):
            return []
        try:
            found = self.function(**{name: known[name] for name in self.takes if name in known})
            if isinstance(found, str) or not isinstance(found, Iterable):
                return [f"its `refuses` gives {found!r}, which is no list of reasons"]
            return [str(reason) for reason in found]
        except RAISED as error:
            return [f"its `refuses` raised {type(error).__name__}: {error}"]


def refuse(error: type[Exception], found: Iterable[str]) -> None:
    """Raise the error with all reasons, if there are any: how a component runs into what it refuses."""
    if said := list(found):
        raise error("; ".join(said))


@functools.lru_cache(maxsize=100_000)
def depends_on(component: Component, *, foreign: bool = False) -> tuple[str, ...] | None:
    """The kinds of the parts, and the settings, of a cell that the answer of a component depends on, not itself.

    None where it has nothing to say.
    """
    asked = [(each, _refusers(each.kind, each.name, foreign=foreign)) for each in (component, *component.parts)]
    if not any(refusers for _, refusers in asked):
        return None
    named = {
        part
        for each, refusers in asked
        for refuser in refusers
        for name in refuser.takes.keys() - each.parameters.keys()
        for part in PART_OF.get(name, ())
    }
    return tuple(kind for kind in (*CELL_PARTS, *SETTINGS) if kind in named - {component.kind})


def reasons(
    component: Component, cell: Beside, under: Attack | Probe | None = None, *, foreign: bool = False
) -> list[str]:
    """Why a component cannot be, beside what of a cell is given; empty if nothing is said.

    `under` is the attack or probe whose component it is. So are the components among its parameters asked.
    """
    found: dict[str, None] = {}
    beside = {**cell, component.kind: component} if component.kind in CELL_PARTS else cell
    for each in (component, *component.parts):
        for refuser in _refusers(each.kind, each.name, foreign=foreign):
            found |= dict.fromkeys(refuser.reasons(_known(refuser.takes, each, beside, under, foreign=foreign)))
    return list(found)


@functools.lru_cache(maxsize=100_000)
def widths(
    architecture: Component, shape: tuple[int, int, int] | None, *, foreign: bool = False
) -> Sequence[int] | None:
    """The units or channels at each activation of an architecture for images of a shape; None if it does not say."""
    own = _own("architecture", architecture.name, "widths", foreign=foreign)
    extended = function_from("tasks.architectures._every", "widths")
    if own is None or extended is None or shape is None:
        return None
    common = registry.shared("architecture").parameters
    of_kind = {name: value for name, value in architecture.parameters.items() if name in common}
    takes = inspect.signature(own).parameters
    of_own = {name: value for name, value in architecture.parameters.items() if name in takes}

    def of_body(shape: Sequence[int]) -> Sequence[int]:
        return cast("Sequence[int]", own(**of_own, **({"shape": shape} if "shape" in takes else {})))

    return cast("Sequence[int]", extended(of_body, shape, **of_kind))


def beyond_classes(attack: Attack, classes: int) -> str:
    """What is wrong with an attack that aims at a class that there is not; empty if it does not."""
    if attack.targets is not None and classes == 1:
        return f"{attack.name} aims at another class than the label's, but there is only one"
    beyond = [target for target in attack.targets if target >= classes] if isinstance(attack.targets, tuple) else []
    return f"{attack.name} aims at class {beyond[0]}, but there are {classes} classes" if beyond else ""


def num_classes(dataset: Component) -> int | None:
    """How many classes a dataset declares, with its parameters; None if only its files tell."""
    return cast("int | None", _declared(dataset, "classes"))


def shape_of(dataset: Component) -> tuple[int, int, int] | None:
    """The (channels, height, width) that a dataset declares; None if only its files tell."""
    return registry.describe("dataset", dataset.name).facts.shape


def _declared(dataset: Component, name: str) -> object:
    return chosen(getattr(registry.describe("dataset", dataset.name).facts, name), dataset.parameters)


def _known(
    names: Iterable[str],
    component: Component,
    cell: Beside,
    under: Attack | Probe | None,
    *,
    foreign: bool,
) -> dict[str, object]:
    """Of what the functions of a component may take, what is asked for and known."""
    known: dict[str, object] = {}
    for name in names:
        if name in component.parameters:
            known[name] = _value(component.parameters[name])
        elif isinstance(under, Attack) and name in OF_ATTACK:
            known[name] = under.targets if name == "targets" else getattr(under.budget, name)
        elif name in PART_OF and cell.keys() >= set(PART_OF[name]):
            value = _of_cell(name, component, cell, foreign=foreign)
            known |= {} if value is None else {name: value}
    return known


def _of_cell(name: str, component: Component, beside: Beside, *, foreign: bool) -> object:
    if name in SETTINGS:
        return beside[name]
    cell = {kind: part for kind, part in beside.items() if isinstance(part, Component)}
    if name in CELL_PARTS:
        return _part(cell[name])
    if name == "widths":
        architecture, dataset = cell["architecture"], cell["dataset"]
        is_refused = _is_refused(architecture, dataset, foreign=foreign)
        return None if is_refused else widths(architecture, shape_of(dataset), foreign=foreign)
    value = _declared(cell["dataset"], name)
    if name == "shape" and isinstance(value, tuple) and component.kind == "architecture":
        # What its body is given.
        return (component.parameters.get("extra_conv") or value[0], *value[1:])
    return value


@functools.lru_cache(maxsize=100_000)
def _is_refused(architecture: Component, dataset: Component, *, foreign: bool) -> bool:
    return bool(reasons(architecture, {"dataset": dataset}, foreign=foreign))


@functools.lru_cache(maxsize=100_000)
def _part(component: Component) -> Part:
    facts = registry.describe(component.kind, component.name).facts
    return Part(component.name, component.parameters, facts, tuple(map(_part, component.parts)))


def _value(value: object) -> object:
    return [_part(part) for part in value] if isinstance(value, tuple) else value


@functools.cache
def _refusers(kind: str, name: str, *, foreign: bool) -> tuple[Refuser, ...]:
    """The functions of the component's own file, and of what every component of its kind has."""
    known = {*registry.describe(kind, name).parameters, *PART_OF, *(OF_ATTACK if kind == "attack" else ())}
    found = [Refuser(function, _takes(function)) for function in _functions(kind, name, foreign=foreign)]
    return tuple(refuser if refuser.takes.keys() <= known else _unasked(refuser, known) for refuser in found)


def _unasked(refuser: Refuser, known: Iterable[str]) -> Refuser:
    """One that says what is wrong with it in place of being asked: it takes what there is not."""
    wrong = [unknown("name", name, known, "what `refuses` may take") for name in refuser.takes if name not in known]
    return Refuser(lambda: wrong, {})


def _takes(function: Callable[..., Any]) -> Mapping[str, bool]:
    return {each.name: each.default is not each.empty for each in inspect.signature(function).parameters.values()}


def _functions(kind: str, name: str, *, foreign: bool) -> Iterator[Callable[..., Any]]:
    own = _own(kind, name, "refuses", foreign=foreign)
    if own is not None:
        yield own
    if registry.shared(kind).function:
        common = function_from(f"tasks.{registry.FOLDERS[kind]}._every", "refuses")
        if common is not None:
            yield common


def _own(kind: str, name: str, function: str, *, foreign: bool) -> Callable[..., Any] | None:
    """A function that stands beside a component; None if there is none, or it is foreign and may not be run."""
    module, _ = registry.origin(kind, name)
    if registry.is_built_in(kind, name):
        return function_from(module, function)
    found = getattr(importlib.import_module(module), function, None) if foreign else None
    if found is not None and not callable(found):
        return lambda: [f"its `{function}` is no function"]
    return found
