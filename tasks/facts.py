"""What a component declares beside its parameters: a frozen dataclass per kind, so that a misspelt fact is refused.

Written once, as keywords of `@component`; read from the source by `tasks.registry`, and compared with what runs where
that can be. Knows nothing of torch, of files, or of how it is used.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Any, Literal, TypeAlias, get_type_hints

from annotated_types import MinLen
from pydantic import TypeAdapter, ValidationError

from tasks.cases import Norm
from tasks.parameters import Count
from tasks.words import unknown

Targeting: TypeAlias = Literal["untargeted", "targeted"]
Paths: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Of any component. `requires`: the packages, as they are imported, without which it cannot run."""

    requires: tuple[Annotated[str, MinLen(1)], ...] = ()

    def about(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The parameters that the facts name, each with the values that they say something of."""
        yield from ()


@dataclass(frozen=True, kw_only=True)
class DatasetFacts(Facts):
    """Of a dataset: what it holds, and the files that it is read from.

    `samples`: how many images the test split has, `train_samples`: the training split; `shape`: (channels, height,
    width) of each; `classes`: how many there are. None is what only the files tell. `files`: of each split, the paths
    below the data root without which it cannot be read, with `{parameter}` for the value of a parameter and `*` as in a
    shell; a folder ends in "/". `fetched`: whether `--download` fetches them. `digests`: the SHA-256 of some of them,
    small ones, by which data sets whose files are named alike and of one size are told apart.

    What depends on a parameter is {parameter: {a value of it: what it is then}}.
    """

    samples: Count | None = None
    train_samples: Count | Mapping[str, Mapping[str | bool, Count]] | None = None
    shape: tuple[Count, Count, Count] | None = None
    classes: Count | Mapping[str, Mapping[str | bool, Count]] | None = None
    files: Mapping[Literal["train", "test"], Paths | Mapping[str, Mapping[str | bool, Paths]]] = field(
        default_factory=dict
    )
    fetched: bool | Mapping[str, Mapping[str | bool, bool]] = False
    digests: Mapping[str, str] = field(default_factory=dict)

    def about(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """As of any."""
        for said in (self.train_samples, self.classes, self.fetched, *self.files.values()):
            if isinstance(said, Mapping):
                yield from ((name, tuple(values)) for name, values in said.items())


@dataclass(frozen=True, kw_only=True)
class ModelFacts(Facts):
    """Of what a model is made of.

    `stochastic`: whether the model draws numbers when it evaluates, or {parameter: values} under which it does.
    `evaluation`: the parameters that matter only when the trained model is evaluated. `adds_to_loss`: whether what a
    training minimises is more than the mean of the head's losses on clean images, because of it, or {parameter: values}
    under which it is not.
    """

    stochastic: bool | Mapping[str, tuple[Any, ...]] = False
    evaluation: tuple[str, ...] = ()
    adds_to_loss: bool | Mapping[str, tuple[Any, ...]] = False

    def about(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """As of any."""
        for said in (self.stochastic, self.adds_to_loss):
            yield from said.items() if isinstance(said, Mapping) else ()
        yield from ((name, ()) for name in self.evaluation)

    def adds(self, parameters: Mapping[str, object]) -> bool:
        """Whether it adds to the loss with some parameters."""
        return _unless(self.adds_to_loss, parameters)


@dataclass(frozen=True, kw_only=True)
class ArchitectureFacts(ModelFacts):
    """Of an architecture."""


@dataclass(frozen=True, kw_only=True)
class ActivationFacts(ModelFacts):
    """Of an activation. `block`: the parameter that says how many neighbouring units it takes together, if it does.

    One that does not say whether it `adds_to_loss` may do so.
    """

    block: str = ""
    adds_to_loss: bool | Mapping[str, tuple[Any, ...]] = True

    def about(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """As of any."""
        yield from super().about()
        yield from [(self.block, ())] if self.block else []


@dataclass(frozen=True, kw_only=True)
class HeadFacts(ModelFacts):
    """Of a head."""


@dataclass(frozen=True, kw_only=True)
class DefenseFacts(ModelFacts):
    """Of a defense.

    `base`: {parameter: value} of the cell that is trained before, whose model this one learns from. `loss`: whether it
    has a loss of its own, in place of the head's, or {parameter: values} under which it has none. One that does not say
    whether it `adds_to_loss` may do so, by a loss, a penalty or the images that it crafts.
    """

    base: Mapping[str, Any] = field(default_factory=dict)
    loss: bool | Mapping[str, tuple[Any, ...]] = False
    adds_to_loss: bool | Mapping[str, tuple[Any, ...]] = True

    def about(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """As of any."""
        yield from super().about()
        yield from ((name, (value,)) for name, value in self.base.items())
        yield from self.loss.items() if isinstance(self.loss, Mapping) else ()

    def has_loss(self, parameters: Mapping[str, object]) -> bool:
        """Whether it has a loss of its own with some parameters."""
        return _unless(self.loss, parameters)

    def has_base(self, parameters: Mapping[str, object]) -> bool:
        """Whether another cell is trained before it with some parameters."""
        return any(parameters.get(name) != value for name, value in self.base.items())


@dataclass(frozen=True, kw_only=True)
class TrainingFacts(Facts):
    """Of a training.

    `unwatched`: {parameter: values} of one that has a parameter `watch`, where under all of these nothing that it
    decides depends on it.
    """

    unwatched: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def about(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """As of any."""
        yield from self.unwatched.items()
        yield from [("watch", ())] if self.unwatched else []

    def watches(self, parameters: Mapping[str, object]) -> bool:
        """Whether something is decided by what it watches, with some parameters."""
        return any(parameters.get(name) not in values for name, values in self.unwatched.items())


@dataclass(frozen=True, kw_only=True)
class AttackFacts(Facts):
    """Of an attack.

    `norms`: those it knows; the first is the default. `budget`: "eps" needs an eps; "minimal" looks for the nearest
    adversarial point, and an eps only says how near is success; "either" is the one or the other. `knowledge`: what it
    is allowed to see: gradients ("white-box"), scores, predictions ("decision"), or nothing. `targeting`: the first is
    the default. `leaves_budget`: {parameter: value} under which the published procedure is known to leave its ball.
    `prepared`: whether the file has a function `prepare`, of the same parameters. `stops`: whether it asks the model
    when a sample is finished or which of its points are to be believed: where the harness answers otherwise than a
    single look does (in a transfer, on a model that draws numbers), its cases have ids of their own. "drawing" is an
    attack that asks no more than what is to be believed, which changes nothing of a transfer from a model that draws
    none.
    """

    norms: Annotated[tuple[Norm, ...], MinLen(1)]
    budget: Literal["eps", "minimal", "either"]
    knowledge: Literal["white-box", "score", "decision", "none"]
    targeting: tuple[Targeting, ...] = ("untargeted",)
    leaves_budget: Mapping[str, Any] = field(default_factory=dict)
    prepared: bool = False
    stops: bool | Literal["drawing"] = False

    def about(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """As of any."""
        yield from ((name, (value,)) for name, value in self.leaves_budget.items())

    def may_leave(self, parameters: Mapping[str, object]) -> bool:
        """Whether its procedure is known to leave its ball with some parameters."""
        leaves = self.leaves_budget
        return bool(leaves) and all(parameters.get(name) == value for name, value in leaves.items())


@dataclass(frozen=True, kw_only=True)
class ProbeFacts(Facts):
    """Of a probe. `sourced`: whether it perturbs images, and takes the model to perturb them for after the streams."""

    sourced: bool = False


def _unless(said: bool | Mapping[str, tuple[Any, ...]], parameters: Mapping[str, object]) -> bool:
    """A fact that is so, is not, or is so but under some values of parameters."""
    if isinstance(said, Mapping):
        return not any(parameters.get(name) in values for name, values in said.items())
    return said


FACTS: Mapping[str, type[Facts]] = {
    "dataset": DatasetFacts,
    "architecture": ArchitectureFacts,
    "activation": ActivationFacts,
    "head": HeadFacts,
    "defense": DefenseFacts,
    "training": TrainingFacts,
    "attack": AttackFacts,
    "probe": ProbeFacts,
}
"""The facts of each kind."""


def declared(kind: str, given: Mapping[str, object]) -> Facts:
    """The facts of a component, checked. Raises ValueError with every name and value that is wrong."""
    known = {each.name: each for each in fields(FACTS[kind])}
    problems = [unknown("fact", name, known, f"kind {kind!r}") for name in given if name not in known]
    needed = [each for each in known.values() if each.default is MISSING and each.default_factory is MISSING]
    problems += [f"must say its {each.name}" for each in needed if each.name not in given]
    values = {}
    for name in [name for name in given if name in known]:
        try:
            values[name] = _types(kind)[name].validate_python(given[name], strict=True)
        except ValidationError as error:
            problems.append(f"{name}: {error.errors()[0]['msg']}")
    if problems:
        raise ValueError("; ".join(problems))
    return FACTS[kind](**values)


def chosen(fact: object, parameters: Mapping[str, object]) -> Any:  # noqa: ANN401 - whatever the fact is
    """A fact of a dataset as it is with some parameters; None where it does not say."""
    if not isinstance(fact, Mapping):
        return fact
    return next(
        (said for name, cases in fact.items() for value, said in cases.items() if parameters.get(name) == value), None
    )


@functools.cache
def _types(kind: str) -> Mapping[str, TypeAdapter[Any]]:
    return {name: TypeAdapter(type_) for name, type_ in get_type_hints(FACTS[kind], include_extras=True).items()}
