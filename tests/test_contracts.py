"""Every built-in component keeps every promise of its kind; what cannot be asked of one is skipped, with the reason."""

import functools
import inspect
from pathlib import Path

import pytest

from tasks import registry
from tasks.contracts.declared import POSITIONAL
from tasks.contracts.subject import Subject
from tasks.contracts.suite import asked, examine, promises
from tasks.types import DataRoot

REAL = DataRoot(Path(__file__).parent.parent.parent / "shared" / "data")
PEERS = ("art", "foolbox", "torchattacks")
"""Other libraries' attacks: their draws are the library's own (tests/test_peers.py)."""
LEFT_OUT = {*PEERS, "resnet101"}  # the last is resnet50 with more blocks
LARGE = ("densenet169", "inception_v3", "resnet50", "vgg16")
"""What takes seconds for a pass: `make drill` asks it. `mobilenet_v2` stands for the networks of torchvision."""
MAY_SKIP = {
    "nothing came back of any image of a linear model": {"zero_gradient_pgd"},  # which has no zero gradient
    "it never looks at the model while it attacks": {"average_sample", "universal"},
    "it does not ask the model": set(),
    "it does not say them": set(),
    "it tells of no epoch": set(),
    "it declares none of these": {"imagefolder", "parquet"},
}
"""Which built-in components a promise may pass over for what they do, and not for what they declare."""
CHEAP = {
    "steps": 6,
    "init_steps": 5,
    "init_tries": 4,
    "queries": 15,
    "search_steps": 2,
    "tries": 3,
    "blends": 5,
    "population": 8,
    "generations": 3,
    "passes": 2,
}
"""What an attack is given of those of its parameters that make it slow."""
GIVEN = {
    "certified_radius": {"sigma": 0.1, "n0": 5, "n": 20},
    "perturbation_growth": {"steps": 3},
    "sensitivity_map": {"store_map": True},
    "zero_gradient_distance": {"steps": 3},
}
BUILT_IN = [(kind, name) for kind in registry.FOLDERS for name in registry.names(kind) if name not in LEFT_OUT]


@functools.cache
def subject(kind, name):
    asked_of = Subject(kind, name, GIVEN.get(name, {}), REAL)
    return asked_of.having(**CHEAP) if kind == "attack" else asked_of


@pytest.mark.parametrize(
    ("kind", "name", "promise"),
    [
        pytest.param(
            kind,
            name,
            promise,
            id=f"{kind} {name} {promise.__name__}",
            marks=pytest.mark.drill if name in LARGE else [],
        )
        for kind, name in BUILT_IN
        for promise in promises(kind)
    ],
)
def test_a_component_keeps_its_promise(kind, name, promise):
    verdict = asked(promise, subject(kind, name))
    if verdict.outcome == "skipped":
        assert name in MAY_SKIP.get(verdict.why, {name})
        pytest.skip(verdict.why)
    assert verdict.outcome == "kept", verdict.why


@pytest.mark.parametrize(("kind", "name"), BUILT_IN)
def test_a_built_in_component_calls_what_it_is_given_by_its_name(kind, name):
    taken = inspect.signature(registry.load(kind, name)).parameters.values()
    names = tuple(each.name for each in taken if each.kind is each.POSITIONAL_OR_KEYWORD)
    described = registry.describe(kind, name)
    more = {"attack": "state", "probe": "source"}.get(kind, "")
    declares = getattr(described.facts, {"attack": "prepared", "probe": "sourced"}.get(kind, ""), False)
    assert names == (*POSITIONAL[kind], *([more] if declares else []))


@pytest.mark.parametrize("name", PEERS)
def test_what_needs_a_value_that_nobody_can_guess_says_which(name):
    verdicts = {verdict.promise: verdict for verdict in examine(Subject("attack", name))}
    assert verdicts["gives_images_and_steps"].outcome == "skipped"
    assert verdicts["gives_images_and_steps"].why == "it needs a value for its parameter 'attack': --set attack=..."
