"""What the components of every kind promise of their declaration: that Python sees what is read from the source."""

import inspect
from collections.abc import Callable
from typing import Any

from tasks import registry
from tasks.contracts.subject import Subject, require
from tasks.registry import REQUIRED, Parameter

POSITIONAL = {
    "dataset": ("split", "root"),
    "architecture": ("shape", "activation"),
    "activation": (),
    "head": ("width", "num_classes"),
    "defense": (),
    "training": ("model", "train", "test", "defense", "seed", "on_epoch", "state"),
    "attack": ("model", "images", "labels", "budget", "streams"),
    "probe": ("model", "images", "labels", "streams"),
}
"""What the harness gives the components of a kind, in order; it may be called otherwise."""


def read_as_declared(subject: Subject) -> None:
    """Its source says what Python sees: the parameters, their types and defaults, and what the harness gives it."""
    function = registry.load(subject.kind, subject.name)
    common = registry.shared(subject.kind).parameters
    described = {name: each for name, each in subject.described.parameters.items() if name not in common}
    _alike(subject.name, described, function)
    due = [*POSITIONAL[subject.kind], *_more(subject)]
    taken = [each.name for each in _of(function) if each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD}]
    require(
        len(taken) == len(due), f"it is given {', '.join(due) or 'nothing'}, but takes {', '.join(taken) or 'nothing'}"
    )
    require(subject.described.version >= 1, f"its version is {subject.described.version}, not 1 or above")


def says_what_it_is(subject: Subject) -> None:
    """It says what it is in one sentence, and where it is from: a link, which the docstring of an attack has too."""
    found = subject.described
    require(found.summary.endswith((".", "?")), f"the first line of its docstring is no sentence: {found.summary!r}")
    require(not found.paper or found.paper.startswith(("https://", "http://")), f"{found.paper!r} is no link")
    named = subject.kind != "attack" or found.paper in found.doc
    require(named, f"its docstring does not name the paper that it declares, {found.paper}")


def _more(subject: Subject) -> list[str]:
    """What the harness gives some components of a kind beside what it gives all."""
    if subject.kind == "attack" and subject.facts.prepared:
        return ["state"]
    return ["source"] if subject.kind == "probe" and subject.facts.sourced else []


def _alike(name: str, described: dict[str, Parameter], function: Callable[..., Any]) -> None:
    """Names, defaults and types."""
    seen = {each.name: each for each in _of(function) if each.kind is each.KEYWORD_ONLY}
    require(
        list(described) == list(seen), f"{name} has the parameters {list(seen)}, but its source says {list(described)}"
    )
    for key, parameter in described.items():
        default = seen[key].default
        due = REQUIRED if default is inspect.Parameter.empty else default
        same = parameter.default is due or (parameter.default == due and type(parameter.default) is type(due))
        require(same, f"the default of {key!r} is {default!r}, but its source says {parameter.default!r}")
        kind = seen[key].annotation
        require(parameter.type == kind, f"the type of {key!r} is {kind}, but its source says {parameter.text}")


def prepares_as_declared(subject: Subject) -> None:
    """If it is prepared, `prepare` stands beside it, with its parameters and those that say what it is fitted to."""
    if not subject.facts.prepared:
        return
    prepare = registry.load_prepare(subject.name)
    _alike("prepare", dict(subject.described.parameters), prepare)
    fitted = subject.described.parameters
    require("fit_samples" in fitted and "fit_split" in fitted, "it has no parameters fit_split and fit_samples")
    require(
        fitted["fit_split"].default == "train", "it is fitted to the images that are attacked unless told otherwise"
    )


def _of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function, eval_str=True).parameters.values())
