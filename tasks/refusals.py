"""What cannot go together, as the components themselves say it: asked before anything runs.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from tasks import registry
from tasks.cases import Attack, Probe
from tasks.config import CELL_PARTS, Component
from tasks.facts import chosen
from tasks.slices import function_from

PART_OF: Mapping[str, tuple[str, ...]] = {
    **{kind: (kind,) for kind in CELL_PARTS},
    **dict.fromkeys(("shape", "classes", "samples"), ("dataset",)),
    "widths": ("dataset", "architecture"),
}
"""What may be known of a cell, and the parts that it depends on.

By the name of its kind, a part of the cell, as `Part`; `shape` (channels, height, width), `classes` and `samples` (of
the test split) as the dataset declares them; the `widths` of the architecture.
"""


class Part(NamedTuple):
    """A component as another one sees it; `facts` are those of its kind, of `tasks.facts`."""

    name: str
    parameters: Mapping[str, Any]
    facts: Any


class Refuser(NamedTuple):
    """A function `refuses`, and the names that it takes, each with whether it has a default."""

    function: Callable[..., Any]
    takes: Mapping[str, bool]

    def reasons(self, known: Mapping[str, object]) -> list[str]:
        """Why what is known cannot be; nothing where something that the function must know is not."""
        if any(name not in known for name, has_default in self.takes.items() if not has_default):
            return []
        return [str(reason) for reason in self.function(**{name: known[name] for name in self.takes if name in known})]


@functools.lru_cache(maxsize=100_000)
def depends_on(component: Component, *, foreign: bool = False) -> tuple[str, ...] | None:
    """The kinds of the parts of a cell that the answer of a component depends on, itself not among them.

    None where it has nothing to say.
    """
    if not any(_refusers(each.kind, each.name, foreign=foreign) for each in (component, *component.parts)):
        return None
    named = {
        part
        for each in (component, *component.parts)
        for refuser in _refusers(each.kind, each.name, foreign=foreign)
        for name in refuser.takes.keys() - each.parameters.keys()
        for part in PART_OF.get(name, ())
    }
    return tuple(kind for kind in CELL_PARTS if kind in named - {component.kind})


def reasons(
    component: Component, cell: Mapping[str, Component], under: Attack | Probe | None = None, *, foreign: bool = False
) -> list[str]:
    """Why a component cannot be, beside the parts of a cell that are given by their kinds; empty if nothing is said.

    `under` is the attack or probe whose component it is. So are the components among its parameters asked.
    """
    found: dict[str, None] = {}
    beside = {**cell, component.kind: component} if component.kind in CELL_PARTS else cell
    for each in (component, *component.parts):
        refusers = _refusers(each.kind, each.name, foreign=foreign)
        known = _known(each, beside, under) if refusers else {}
        for refuser in refusers:
            found |= dict.fromkeys(refuser.reasons(known))
    return list(found)


def widths(architecture: Component, shape: Sequence[int] | None) -> Sequence[int] | None:
    """The units or channels at each activation of an architecture for images of a shape; None if it does not say."""
    if not registry.is_built_in("architecture", architecture.name):
        return None
    own = function_from(registry.origin("architecture", architecture.name)[0], "widths")
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
    beyond = [target for target in attack.targets if target >= classes] if isinstance(attack.targets, tuple) else []
    return f"{attack.name} aims at class {beyond[0]}, but there are {classes} classes" if beyond else ""


def num_classes(dataset: Component) -> int | None:
    """How many classes a dataset declares, with its parameters; None if only its files tell."""
    classes: int | None = chosen(registry.describe("dataset", dataset.name).facts.classes, dataset.parameters)
    return classes


def _known(component: Component, cell: Mapping[str, Component], under: Attack | Probe | None) -> dict[str, object]:
    """All that the functions of a component may take, as far as it is known."""
    known: dict[str, object] = {kind: _part(part) for kind, part in cell.items()}
    if "dataset" in cell:
        facts = registry.describe("dataset", cell["dataset"].name).facts
        known |= {"shape": facts.shape, "samples": facts.samples, "classes": num_classes(cell["dataset"])}
        if "architecture" in cell:
            known["widths"] = widths(cell["architecture"], facts.shape)
        if component.kind == "architecture" and facts.shape and component.parameters.get("extra_conv"):
            known["shape"] = (component.parameters["extra_conv"], *facts.shape[1:])  # what its body is given
    known = {name: value for name, value in known.items() if value is not None}
    if isinstance(under, Attack):
        budget = under.budget
        known |= {"norm": budget.norm, "eps": budget.eps, "space": budget.space, "box": budget.box}
        known["targets"] = under.targets
    own = {name: _value(value) for name, value in component.parameters.items()}
    return known | own


def _part(component: Component) -> Part:
    return Part(component.name, component.parameters, registry.describe(component.kind, component.name).facts)


def _value(value: object) -> object:
    return [_part(part) for part in value] if isinstance(value, tuple) else value


@functools.cache
def _refusers(kind: str, name: str, *, foreign: bool) -> tuple[Refuser, ...]:
    """The functions of the component's own file, and of what every component of its kind has."""
    return tuple(Refuser(function, _takes(function)) for function in _functions(kind, name, foreign=foreign))


def _takes(function: Callable[..., Any]) -> Mapping[str, bool]:
    return {each.name: each.default is not each.empty for each in inspect.signature(function).parameters.values()}


def _functions(kind: str, name: str, *, foreign: bool) -> Iterator[Callable[..., Any]]:
    module, _ = registry.origin(kind, name)
    own = None
    if registry.is_built_in(kind, name):
        own = function_from(module, "refuses")
    elif foreign:
        own = getattr(importlib.import_module(module), "refuses", None)
    if own is not None:
        yield own
    if registry.shared(kind).function:
        common = function_from(f"tasks.{registry.FOLDERS[kind]}._every", "refuses")
        if common is not None:
            yield common
