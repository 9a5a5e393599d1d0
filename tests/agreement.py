"""Random small cells and what is asked of them, as specs; and running one for real, to see if `check` was right."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import torch
import yaml
from annotated_types import Ge, Gt, Le, Lt

from grid.errors import SpecError
from grid.plan.expand import expand
from grid.spec.read import load_spec, parse_document
from tasks import registry
from tasks.cases import Case
from tasks.config import Cell
from tasks.judge import attack_samples
from tasks.model import Classifier, build_model, load_split
from tasks.needs import base_of, is_prepared
from tasks.parameters import several
from tasks.prepare import prepare_attack
from tasks.probe import probe_samples
from tasks.registry import REQUIRED, component
from tasks.training.train import train
from tasks.types import DataRoot, Split

ROOT = DataRoot(Path("no-data"))
PEERS = {"art", "foolbox", "torchattacks"}
LARGE = {"densenet169", "inception_v3", "mobilenet_v2", "resnet50", "resnet101", "vgg16"}
NOT_RANDOM = {"folder", "train_folder", "test_folder", "pretrained", "generated"}
CHEAP: Mapping[str, Sequence[Any]] = {
    **dict.fromkeys(("steps", "epochs", "queries", "init_steps", "init_tries", "blends", "tries"), (1, 2, 3)),
    **dict.fromkeys(("restarts", "search_steps", "passes", "inner_steps", "cw_steps", "n0", "n"), (1, 2)),
    "generations": (0, 1, 2),
    "population": (3, 4, 5),
    "depth": (10, 16),
    "width": (2, 4),
    "blocks": (1, 2),
    "fit_samples": (1, 4, 24, None),
    "hidden": ([4], [6, 8], [8]),
    "channels": ([4], [6, 4], [2, 2]),
    "dense": ([8], [6]),
    "strength": (1.0, 2.0),
}
"""Values that take no time: always given."""
EDGES: Mapping[str, Sequence[Any]] = {
    "population": (1, 2),
    "depth": (4, 11),
    "fit_samples": (25, 1000),
    "layers": ([1], [-1], [2, -1], [5], []),
    "hidden": ([], [3]),
    "channels": ([], [2, 2, 2, 2]),
    "dense": ([], [1]),
    "strength": (0.3, 0.5, 3.0, 9.0),
    "samples": (1, 3, 24, 25),
    "batch_size": (1, 3, 8, 23),
    "milestones": ([1], [1, 2]),
    "validation": (0.01, 0.25, 0.99),
    "natural_epochs": (1,),
    "bits": (1, 24, 127, 128, 1100),
    "weight_bits": (1, 24, 127, 128, 1100),
    "precision": ("float32", "bfloat16"),
    "targets": ("all", 0, [1, 2], 7),
}
"""Values at the edge of what is possible: given now and then, as any other that has a default."""


OFTEN = 0.1
"""How often a value is given that need not be, or one at the edge."""


def split(name: str, shape: tuple[int, int, int], classes: int) -> Split:
    """Images of noise around a level of their class."""
    count = 24 if name == "train" else 6
    labels = torch.arange(count) % classes
    noise = torch.rand(count, *shape, generator=torch.Generator().manual_seed(count))
    images = noise / 2 + labels.view(-1, 1, 1, 1) / max(1, classes - 1) / 2
    names = tuple(map(str, range(classes)))
    return Split(images, labels, names, (0.5,) * shape[0], (0.25, 0.3, 0.2)[: shape[0]])


@component("dataset", version=1, samples=6, train_samples=24, shape=(1, 8, 8), classes=3)
def small(name, root):
    """Images as small as digits."""
    return split(name, (1, 8, 8), 3)


@component("dataset", version=1, samples=6, train_samples=24, shape=(1, 28, 28), classes=3)
def grey(name, root):
    """Images as large as MNIST's."""
    return split(name, (1, 28, 28), 3)


@component("dataset", version=1, samples=6, train_samples=24, shape=(3, 32, 32), classes=2)
def colour(name, root):
    """Images as large as CIFAR's, of two classes."""
    return split(name, (3, 32, 32), 2)


@component("dataset", version=1, samples=6, train_samples=24, shape=(3, 5, 9), classes=5)
def odd(name, root):
    """Images that are not square."""
    return split(name, (3, 5, 9), 5)


@component("dataset", version=1, samples=6, train_samples=24, shape=(1, 8, 8), classes=1)
def single(name, root):
    """Images of one class."""
    return split(name, (1, 8, 8), 1)


DATASETS = ("small", "small", "grey", "grey", "colour", "odd", "single")


def value(draw: random.Random, name: str, kind: Any) -> Any:  # noqa: PLR0911 - a form of type each
    """A value of a parameter's type."""
    if name in EDGES and (name not in CHEAP or draw.random() < OFTEN):
        return draw.choice(EDGES[name])
    if name in CHEAP:
        return draw.choice(CHEAP[name])
    arguments = get_args(kind)
    match get_origin(kind):
        case _ if kind is bool:
            return draw.random() < 0.5
        case _ if kind is NoneType:
            return None
        case origin if origin is Literal:
            return draw.choice(arguments)
        case origin if origin is list:
            return [value(draw, "", arguments[0]) for _ in range(draw.randrange(3))]
        case origin if origin is Annotated:
            whole = arguments[0] is int
            bounds = {type(limit): limit for limit in arguments[1:]}
            pool = [0, 1, 2, 3, 8] if whole else [0.0, 1e-3, 0.1, 0.3, 0.9, 1.0, 1.5, 20.0]
            return draw.choice([number for number in pool if _is_within(number, bounds)])
        case _ if kind is int:
            return draw.choice([1, 2, 3])
        case _ if kind is float:
            return draw.choice([0.1, 1.0, 2.0])
    return value(draw, name, draw.choice(arguments))


def _is_within(number: float, bounds: Mapping[type, Any]) -> bool:
    low = number > bounds[Gt].gt if Gt in bounds else number >= bounds[Ge].ge if Ge in bounds else True
    high = number < bounds[Lt].lt if Lt in bounds else number <= bounds[Le].le if Le in bounds else True
    return low and high


def entry(draw: random.Random, kind: str, name: str) -> Any:
    """A component with some of its parameters, as a spec writes it."""
    described = registry.describe(kind, name)
    given = {}
    for key, parameter in described.parameters.items():
        if key in NOT_RANDOM:
            continue
        if listed := several(parameter.type):
            parts = [each for each in registry.names(listed.kind) if each != name]
            given[key] = [entry(draw, listed.kind, draw.choice(parts)) for _ in range(draw.choice([2, 2, 3]))]
        elif parameter.default is REQUIRED or key in CHEAP or draw.random() < OFTEN:
            given[key] = value(draw, key, parameter.type)
    return {name: given} if given else name


def spec(draw: random.Random, large: float = 0.0) -> dict[str, Any]:
    """A cell and one attack or probe, with a source now and then."""
    architectures, datasets = sorted(set(registry.names("architecture")) - LARGE), DATASETS
    if draw.random() < large:
        architectures, datasets = sorted(LARGE), ("colour",)
    cell: dict[str, Any] = {
        "dataset": f"agreement:{draw.choice(datasets)}",
        "architecture": entry(draw, "architecture", draw.choice(architectures)),
        "training": entry(draw, "training", "standard"),
    }
    for kind in ("activation", "head", "defense"):
        if draw.random() < 0.6:
            cell[kind] = entry(draw, kind, draw.choice(registry.names(kind)))
    key = draw.choice(["attacks", "attacks", "attacks", "probes"])
    kind = key.removesuffix("s")
    name = draw.choice([each for each in registry.names(kind) if each not in PEERS])
    asked = entry(draw, kind, name)
    if kind == "attack":
        asked = {name: {**(asked[name] if isinstance(asked, dict) else {}), **harness(draw, name)}}
    return {"name": "random", "samples": {"count": 2}, "cells": [cell], key: [asked]}


def harness(draw: random.Random, name: str) -> dict[str, Any]:
    """The keys beside an attack's own."""
    facts = registry.describe("attack", name).facts
    given: dict[str, Any] = {"eot": 2, "draws": 2, "attacked": "all", "norm": draw.choice(facts.norms)}
    if facts.budget == "eps" or draw.random() < 0.3:
        given["eps"] = draw.choice([0.05, 0.5, 3.0])
    if draw.random() < 0.3:
        given["space"] = "standardised"
    if draw.random() < 0.2:
        given["box"] = False
    if "targeted" in facts.targeting and draw.random() < 0.4:
        given["targets"] = draw.choice(EDGES["targets"])
    return given


def problems(folder: Path, document: Mapping[str, Any]) -> list[str]:
    """What `check` says of a spec."""
    path = folder / "random.yaml"
    path.write_text(yaml.safe_dump(dict(document)))
    try:
        load_spec(path)
    except SpecError as error:
        return [str(problem.message) for problem in error.problems]
    return []


def run(document: Mapping[str, Any]) -> None:
    """Train each cell of a spec and attack or probe two samples; raises whatever goes wrong on the way."""
    for found in expand(parse_document(yaml.safe_dump(dict(document)), "random.yaml")):
        model = trained(found.cell)
        for wanted in found.cases():
            attack_or_probe(model, wanted.case)


def trained(cell: Cell) -> Classifier:
    """The cell's model, with whatever has to be trained before."""
    base = base_of(cell)
    before = trained(base.cell) if base else None
    if base and base.role == "weights":
        built = build_model(cell, load_split(cell.dataset, "train", ROOT)).eval()
        built.load_state_dict(before.state_dict())
        return built
    roles = {base.role: before} if base else {}
    return train(cell, ROOT, torch.device("cpu"), start=roles.get("start"), teacher=roles.get("teacher"))[0]


def attack_or_probe(model: Classifier, case: Case) -> None:
    """The first two samples."""
    test = load_split(case.cell.dataset, "test", ROOT)
    given = test.images[:2], test.labels[:2], torch.arange(2)
    source = None if case.source is None else trained(case.source)
    if case.under.kind == "probe":
        probe_samples(model, case, *given, batch_size=2, source=source)
        return
    state = None
    if is_prepared(case):
        parameters = case.attack.component.parameters
        fitting = load_split(case.seen.dataset, parameters["fit_split"], ROOT)
        count = len(fitting.labels) if parameters["fit_samples"] is None else parameters["fit_samples"]
        if count > len(fitting.labels):
            raise ValueError("more images to fit than there are")
        fitted = fitting.images[:count], fitting.labels[:count], torch.arange(count)
        state = prepare_attack(source or model, case, *fitted, num_classes=test.num_classes).state
    if attack_samples(model, case, *given, batch_size=2, source=source, state=state).num_rows == 0:
        raise ValueError("there was nothing to attack")
