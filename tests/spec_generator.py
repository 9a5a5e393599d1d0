"""Specs by the thousand, from a seed: sound ones, made of what the components declare, and the same with mistakes.

A spec is a plain value; its text is JSON, which is YAML as well.
"""

import copy
import functools
import random
from typing import Annotated, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from grid.questions import METRICS, TABLES
from grid.spec.keys import HARNESS_KEYS, PROBE_KEYS
from tasks import registry
from tasks.config import CELL_PARTS
from tasks.parameters import several
from tasks.registry import REQUIRED

ODD = [
    *(None, True, False, 0, 1, -1, 3, 3.0, 0.5, 1e300, 2**62, "", "a", "none", "all", "each", "last", "l2", "ce"),
    *("8/255", " 8 / 255 ", "8./255.", "-8/255", ".5/2", "1/0", "3.0", "digits", "softmax", "natural", "fgsm", "relu"),
    *([], [1], [[]], ["softmax"], {}, {"each": []}, {"each": [1]}, {"each": 3}, {"each": [0.1, 0.2]}, {"a": 1}),
    *({"cascade": True}, {"cascade": False, "attacks": ["deepfool"]}, {"source": {"seed": 1}}, ["combined"]),
    *("spec_components:flat", {"spec_components:flat": {"scale": 2.0}}, {"spec_components:flat": {"no": 1}}),
]
"""What a mistake puts in the place of another value."""
WORDS = [
    *("name", "each", "eps", "norm", "box", "samples", "targets", "source", "seed", "seeds", "attacks", "cascade"),
    *("attacked", "eot", "draws", "space", "steps", "epochs", "head", "note", "variant", "layers", "parts", "mlp"),
    *("attack.steps", "source.head", "dataset.x", "no such key", "fgsm", "autoattack", "standard", "extends"),
]
"""What a mistake calls a key."""
_OF_MEMBERS = [
    *({"samples": 3}, {"targets": "all"}, {"eot": 2}, {"source": {"head": "cons"}}, {"attacked": "all"}, {"draws": 1}),
    *({"eps": 0.5}, {"norm": "linf"}, {"norm": "l2"}, {"space": "pixel"}, {"box": False}, {"eps": {"each": [0.1]}}),
    *({"eps": {"each": [0.1, 0.2]}}, {"steps": {"each": [1, 2]}}, {"steps": {"each": [2, 2]}}, {"steps": 2}),
]
"""What a member of a cascade may say, and what it may not."""
_SMALL = {"dataset": "digits", "architecture": "mlp"}
_UNSIZED = ("imagefolder", "parquet")
_CASCADED = ("fgsm", "pgd", "bim", "square", "apgd", "deepfool", "fab", "random_noise")


names = functools.cache(registry.names)


def generated(seed):
    """One spec: sound (as far as its components can tell) where the seed is a multiple of three."""
    maker = _Maker(random.Random(seed))
    spec = maker.spec()
    for _ in range(seed % 3):
        spec = mutated(spec, maker.random)
    return spec


def mutated(spec, rng):
    """The same spec with one mistake somewhere."""
    spec = copy.deepcopy(spec)
    places = list(_places(spec))
    members = [(holder, key) for holder, key in places if isinstance(holder, list) and _is_member(holder[key])]
    if members and rng.random() < 0.5:
        holder, key = rng.choice(members)
        ((name, own),) = holder[key].items()
        said = copy.deepcopy(rng.choice(_OF_MEMBERS))
        holder[key] = {name: {**own, **said}}
        return spec
    holder, key = rng.choice(places)
    match rng.randrange(6):
        case 0:
            holder[key] = copy.deepcopy(rng.choice(ODD))
        case 1:
            del holder[key]
        case 2 if isinstance(holder, dict):
            holder[rng.choice(WORDS)] = holder.pop(key)
        case 3 if isinstance(holder, dict):
            holder[rng.choice(WORDS)] = copy.deepcopy(rng.choice(ODD))
        case 4:
            holder[key] = [holder[key]]
        case _:
            other, place = rng.choice(places)
            holder[key] = copy.deepcopy(other[place])
    return spec


def _is_member(value):
    return (
        isinstance(value, dict)
        and len(value) == 1
        and next(iter(value)) in _CASCADED
        and all(isinstance(own, dict) for own in value.values())
    )


def _places(value):
    """Every value within another, as what holds it and its key there."""
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
    for key, child in pairs:
        yield value, key
        if isinstance(child, dict | list):
            yield from _places(child)


class _Maker:
    """Makes the parts of a sound spec."""

    def __init__(self, rng):
        self.random = rng

    def spec(self):
        spec = {"name": "made", "samples": {"count": self.random.choice([3, "all"])}, "cells": self.some(self.block, 2)}
        for key, make in {
            "seeds": lambda: [0, 1],
            "inputs": lambda: self.random.choice(["raw", ["standardised", "raw"]]),
            "attacks": lambda: self.some(self.attack, 4),
            "probes": lambda: self.some(self.probe, 2),
            "tables": lambda: self.some(lambda: self.random.choice(TABLES), 2),
            "exclude": lambda: [self.random.choice([{"seed": 0}, {"dataset": "digits", "seed": [0, 7]}])],
            "published": lambda: [{"metric": self.random.choice(METRICS), "value": 0.5, "source": "T", "seed": [0, 1]}],
            "profiles": lambda: {"small": {"samples.count": 2}},
        }.items():
            if self.random.random() < (0.15 if key in {"exclude", "published"} else 0.5):
                spec[key] = make()
        return spec

    def some(self, make, most):
        return [make() for _ in range(self.random.randint(1, most))]

    def block(self):
        block = {}
        for kind in CELL_PARTS:
            if kind in _SMALL or self.random.random() < 0.4:
                block[kind] = self.component(kind) if self.random.random() < 0.6 else _SMALL.get(kind, self.name(kind))
        if self.random.random() < 0.3:
            block["attacks"] = self.some(self.attack, 2)
        if self.random.random() < 0.2:
            block |= {"seeds": [4], "variant": "own", "initialisation": "glorot_uniform"}
        return block

    def name(self, kind):
        own = [name for name in names(kind) if name not in _UNSIZED or self.random.random() < 0.1]
        return self.random.choice([*own, *(["spec_components:flat"] if kind == "head" else [])])

    def component(self, kind):
        if kind == "training" and self.random.random() < 0.5:
            return self.parameters("training", "standard")
        entry = self.entry(kind, self.name(kind))
        return [entry, self.entry(kind, self.name(kind))] if self.random.random() < 0.2 else entry

    def entry(self, kind, name, **more):
        own = {} if ":" in name else self.parameters(kind, name)
        if kind == "defense" and name == "combined" and self.random.random() < 0.5:
            return {name: own["parts"]}
        return {name: {**own, **more}} if own or more or self.random.random() < 0.3 else name

    def parameters(self, kind, name):
        declared = registry.describe(kind, name).parameters
        wanted = [key for key, each in declared.items() if each.default is REQUIRED or self.random.random() < 0.3]
        return {key: self.varied(declared[key].type) for key in wanted}

    def varied(self, kind):
        if self.random.random() < 0.15:
            return {"each": [self.value(kind), self.value(kind)]}
        return self.value(kind)

    def value(self, kind):
        arguments = get_args(kind)
        if listed := several(kind):
            return [self.part(listed.kind), self.part(listed.kind)]
        match get_origin(kind):
            case origin if origin is Annotated:
                return self.bounded(arguments[0], arguments[1:])
            case origin if origin is Literal:
                return self.random.choice(arguments)
            case origin if origin is list:
                return self.some(lambda: self.value(arguments[0]), 3)
            case None:
                plain = {int: 2, float: 0.5, bool: True, str: "word", type(None): None}
                return plain[kind]
            case _:  # a union
                assert get_origin(kind) is Union or "UnionType" in str(get_origin(kind))
                return self.value(self.random.choice(arguments))

    def bounded(self, kind, bounds):
        low = max((b.gt + 1 if isinstance(b, Gt) else b.ge for b in bounds if isinstance(b, Gt | Ge)), default=0)
        is_share = any(isinstance(bound, Le | Lt) for bound in bounds)
        if kind is int:
            return self.random.randint(low, low + 3)
        return self.random.choice([0, 0.5, "8/255", "8./255."] if is_share else [low, low + 0.5, "8/255", ".5 / 2"])

    def part(self, kind):
        if self.random.random() < 0.05:
            return {"combined": ["natural", "orthogonality"]}
        name = self.random.choice(["natural", "label_smoothing", "orthogonality"])
        return self.entry(kind, name) if self.random.random() < 0.5 else name

    def attack(self):
        chance = self.random.random()
        if chance < 0.15:
            return {"autoattack": {"eps": self.varied(HARNESS_KEYS["eps"])}}
        if chance < 0.3:
            members = self.some(lambda: self.entry("attack", self.random.choice(_CASCADED)), 3)
            return {"cascade": True, "attacks": members, "eps": self.varied(HARNESS_KEYS["eps"]), **self.beside("")}
        name = self.name("attack")
        return self.entry("attack", name, eps=self.varied(HARNESS_KEYS["eps"]), **self.beside())

    def beside(self, but="norm"):
        keys = [key for key in HARNESS_KEYS if key not in {"eps", but} and self.random.random() < 0.1]
        source = {"source": {"head": "cons"}} if self.random.random() < 0.1 else {}
        return {**{key: self.varied(HARNESS_KEYS[key]) for key in keys}, **source}

    def probe(self):
        keys = [key for key in PROBE_KEYS if self.random.random() < 0.2]
        source = {"source": {"seed": [3]}} if self.random.random() < 0.1 else {}
        return self.entry("probe", self.name("probe"), **source, **{key: self.varied(PROBE_KEYS[key]) for key in keys})
