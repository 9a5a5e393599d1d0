"""The numbers of attacks and probes: what they do to a few digits, under a classifier whose weights are known."""

from collections.abc import Iterator, Mapping

import torch
from pinned import Case, Found
from pinned_choices import choices
from pinned_model import CLASSES, classifier, pixels, summed
from torch import Tensor

from tasks import registry
from tasks.cases import Budget
from tasks.config import Json
from tasks.counted import CountedModel
from tasks.metrics import frozen, rowwise
from tasks.registry import Description
from tasks.streams import Streams

EPS = {"linf": 0.06, "l2": 0.4, "l1": 3.0, "l0": 3.0}
SAMPLES = (0, 3, 12, 29, 38, 43)
_OF_VANISHING_GRADIENTS = ("zero_gradient_pgd",)
"""Attacks that find nothing where the gradient never vanishes."""
_FITTED = 60
_CHANGED = 1e-9
"""Less than this is rounding, which another processor need not make."""


def attack_cases(description: Description) -> Iterator[Case]:
    """In every norm the defaults, aiming in every way, and what is chosen by name; in the first norm other numbers.

    Once in standardised units, once averaging the draws of a model that draws. What follows gradients also on a model
    whose gradient vanishes and whose softmax saturates, and what asks when a sample is finished where that is never and
    where independent looks say.
    """
    norms, targeting = description.facts.norms, description.facts.targeting
    first, *others = choices(description)
    plain = _under(description, norms[0], targeting[0])
    capped = {**plain, "model": "capped"}
    for norm in norms:
        for aim in targeting:
            yield Case(_under(description, norm, aim), first)
    yield Case({**plain, "space": "standardised"}, first)
    if description.facts.knowledge == "white-box":
        yield Case({**plain, "model": "drawing", "eot": 2}, first)
        yield from (Case({**_under(description, norm, targeting[0]), "model": "capped"}, first) for norm in norms)
    if description.facts.stops:
        yield Case({**plain, "stopping": "never"}, first)
        yield Case({**plain, "model": "drawing", "eot": 2, "stopping": "confirmed"}, first)
    for parameters in others:
        named = any(isinstance(value, str | bool) and value != first[key] for key, value in parameters.items())
        for norm in norms if named else norms[:1]:
            yield Case(_under(description, norm, targeting[0]), parameters)
        if named and description.facts.knowledge == "white-box":
            yield Case(capped, parameters)


def _under(description: Description, norm: str, aim: str) -> dict[str, Json]:
    eps = None if description.facts.budget == "minimal" else EPS[norm]
    model = "capped" if description.name in _OF_VANISHING_GRADIENTS else "plain"
    return {"norm": norm, "eps": eps, "space": "pixel", "aim": aim, "model": model, "eot": 1}


def attacked(name: str, under: Mapping[str, Json], parameters: Mapping[str, Json]) -> Found:
    """Per sample: the prediction, success, what it cost, distances and a sum over the image that came back."""
    samples = torch.tensor(SAMPLES)
    images, labels = (part[samples] for part in pixels("test"))
    targets = (labels + 1 + samples % (CLASSES - 1)) % CLASSES if under["aim"] == "targeted" else None
    budget = Budget(under["norm"], under["eps"], space=under["space"])
    streams = Streams("pinned", samples, targets)
    model = classifier(under["model"])
    with frozen(model):
        state = _prepared(name, model, budget, under["eot"], parameters)
        counted = CountedModel(
            model, samples, budget, num_classes=CLASSES, targets=targets, eot=under["eot"], noise=streams,
            stopping=under.get("stopping", "look"),
        )  # fmt: skip
        clean = counted.inputs(images)
        given = counted, clean.clone(), labels.clone(), budget, streams, *state
        returned, steps = registry.load("attack", name)(*given, **parameters)
        counted.check()
        found = {"forwards": counted.forwards.tolist(), "backwards": counted.backwards.tolist()}
        there = ~returned.isnan().flatten(1).all(1)
        predicted = _predicted(counted, torch.where(rowwise(there, clean), returned, clean))
    aim = predicted != labels if targets is None else predicted == targets
    return {
        **found,
        **_distances(returned - clean),
        "steps": steps.tolist(),
        "adv_pred": predicted.tolist(),
        "success": (aim & there).tolist(),
        "image": summed(returned),
    }


def _prepared(name: str, model, budget: Budget, eot: int, parameters: Mapping[str, Json]) -> list[Mapping[str, Tensor]]:
    """The state of an attack that makes one from other images; of any other nothing."""
    if not registry.describe("attack", name).facts.prepared:
        return []
    samples = torch.arange(_FITTED)
    images, labels = (part[samples] for part in pixels("train"))
    streams = Streams("pinned, prepared", samples)
    counted = CountedModel(model, samples, budget, num_classes=CLASSES, eot=eot, noise=streams)
    prepare = registry.load_prepare(name)
    return [prepare(counted, counted.inputs(images), labels, budget, streams, **parameters).state]


def _predicted(counted: CountedModel, images: Tensor) -> Tensor:
    with torch.no_grad():
        return counted(images).argmax(1)


def _distances(delta: Tensor) -> Found:
    flat = delta.abs().flatten(1)
    return {
        "l0": (delta.abs().amax(1).flatten(1) > _CHANGED).sum(1).tolist(),
        "l1": flat.sum(1).tolist(),
        "l2": torch.linalg.vector_norm(flat, dim=1).tolist(),
        "linf": flat.amax(1).tolist(),
    }


def probe_cases(description: Description) -> Iterator[Case]:
    """Every choice, on a model without noise and on one with it."""
    first, *others = choices(description)
    for model in ("plain", "smoothed"):
        yield Case({"model": model}, first)
        yield from (Case({"model": model}, parameters) for parameters in others)


def probed(name: str, under: Mapping[str, Json], parameters: Mapping[str, Json]) -> Found:
    """Every measure of each sample; of one that has many elements a sum over them."""
    samples = torch.tensor(SAMPLES)
    images, labels = (part[samples] for part in pixels("test"))
    model = classifier(under["model"])
    streams = Streams("pinned", samples)
    with frozen(model):
        counted = CountedModel(model, samples, Budget("l2", None), num_classes=CLASSES, noise=streams)
        sourced = [counted] if registry.describe("probe", name).facts.sourced else []
        measures = registry.load("probe", name)(
            counted, images.clone(), labels.clone(), streams, *sourced, **parameters
        )
        counted.check()
    found = {f"{each.layer or 'model'} {each.name}": _values(each.values) for each in measures}
    return {**found, "forwards": counted.forwards.tolist(), "backwards": counted.backwards.tolist()}


def _values(values: Tensor) -> Json:
    values = values.double()
    return values.tolist() if values.dim() == 1 else summed(values)
