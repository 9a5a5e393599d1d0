"""Toy components that the tests of specs name as `spec_components:name`: read from source, never called."""

from typing import Literal

from tasks.parameters import Count, CountOrZero, Defenses, Rate
from tasks.registry import component


@component("dataset", version=1, samples=50)
def fifty(split, root):
    """Fifty images to test on."""


@component("dataset", version=1)
def unsized(split, root):
    """Does not say how many images it has."""


@component("architecture", version=3)
def net(shape, activation, *, hidden: list[Count] = [8], dropout: Rate = 0):  # noqa: B006 - read from source only
    """A network; its dropout is declared as a whole number on purpose."""


@component("head", version=1)
def flat(width, num_classes, *, scale: float = 1.0):
    """A head."""


@component("attack", version=1, norms=("linf", "l2"), budget="eps", knowledge="none", leaves_budget={"rule": "raw"})
def nudge(model, images, labels, budget, streams, *, steps: Count = 10, rule: Literal["sign", "raw"] = "sign"):
    """Within a ball."""


@component("attack", version=1, norms=("l2",), budget="minimal", knowledge="none")
def walk(model, images, labels, budget, streams, *, steps: Count = 5, start: float | None = None):
    """The nearest point."""


@component("attack", version=1, norms=("l2",), budget="minimal", knowledge="none")
def needy(model, images, labels, budget, streams, *, goal: CountOrZero):
    """Has a parameter without a default."""


@component("attack", version=1, norms=("l2",), budget="minimal", knowledge="none")
def clash(model, images, labels, budget, streams, *, eps: float = 1.0):
    """Names a parameter like a key of the harness."""


@component("attack", version=1, norms=("l2",), budget="minimal", knowledge="none")
def wrong_default(model, images, labels, budget, streams, *, steps: Count = 0):
    """Its default is not of its own type."""


@component(
    "attack", version=1, norms=("linf",), budget="eps", knowledge="white-box", targeting=("untargeted", "targeted")
)
def aim(model, images, labels, budget, streams, *, steps: Count = 10):
    """Can be targeted, and uses gradients."""


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none", targeting=("targeted",))
def only_aim(model, images, labels, budget, streams):
    """Only targeted."""


@component("attack", version=1, norms=("linf", "l2"), budget="either", knowledge="none", targeting=("untargeted",))
def anything(model, images, labels, budget, streams, *, attack: str, **parameters):
    """Takes parameters it does not declare."""


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box", prepared=True)
def ready(model, images, labels, budget, streams, state, *, fit_split: str = "train", fit_samples: int | None = None):
    """Has a prepare step."""


def prepare(model, images, labels, budget, streams, *, fit_split: str = "train", fit_samples: int | None = None):
    """The prepare step."""


@component("defense", version=1, stochastic=True)
def wavers():
    """Its model draws numbers when it evaluates."""


@component("defense", version=1)
def stacked(*, layers: Defenses, weight: float = 1.0):
    """Is made of other defenses."""


@component("defense", version=1)
def stacked_by_default(*, layers: Defenses = ["natural", "natural"]):  # noqa: B006 - read from source only
    """Components have no default."""


@component("attack", version=1, norms=("l2",), budget="minimal", knowledge="none")
def defended(model, images, labels, budget, streams, *, layers: Defenses):
    """No part of a cell."""


@component("training", version=1)
def patient(model, train, test, defense, seed, *, rounds: Count = 3):
    """Another training than the usual one."""
