"""Which parameters a component is pinned with: its defaults, and every choice that its signature has, one at a time.

Read from the signature, so that a newcomer is pinned without a line here. A table below has what a signature cannot
say: values for what has no default, smaller ones for what is costly, and what a choice needs beside it.
"""

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from tasks import registry
from tasks.config import Json
from tasks.registry import REQUIRED, Description

Parameters = Mapping[str, Json]

PARTS: Json = [
    {"name": "label_smoothing", "parameters": {"smoothing": 0.1}},
    {"name": "orthogonality", "parameters": {"beta": 0.01}},
]
FIRST: Mapping[tuple[str, str], Parameters] = {
    ("attack", "apgd"): {"target_classes": 3},
    ("attack", "boundary"): {"steps": 300, "init_tries": 20},
    ("attack", "blended_noise"): {"tries": 20},
    ("attack", "cw"): {"search_steps": 4, "steps": 80},
    ("attack", "fab"): {"steps": 30},
    ("attack", "lbfgs"): {"search_steps": 6, "steps": 20},
    ("attack", "one_pixel"): {"population": 40, "generations": 12},
    ("attack", "sparsefool"): {"steps": 8},
    ("attack", "square"): {"queries": 400},
    ("attack", "superdeepfool"): {"steps": 20},
    ("attack", "universal"): {"passes": 4, "batch": 20},
    ("architecture", "wide_resnet"): {"depth": 10},
    ("dataset", "imagefolder"): {"folder": "photos"},
    ("dataset", "parquet"): {"folder": "photos"},
    ("defense", "combined"): {"parts": PARTS},
    ("defense", "mixed_training"): {"steps": 4, "cw_steps": 6},
    ("training", "standard"): {"epochs": 6, "batch_size": 32},
}
"""In place of defaults that take too long, and of those that there are not."""
REQUIRED_FLOAT = 0.1

_VALIDATED: Parameters = {"validation": 0.25, "lr": 0.01}
_STEPPED: Parameters = {"schedule": "step", "milestones": [2, 4]}
BESIDE: Mapping[tuple[str, str, str], Parameters] = {
    ("attack", "average_sample", "chunk"): {"fit_split": "test"},
    ("attack", "boundary", "convergence"): {"steps": 40},
    ("attack", "pgd", "restarts"): {"steps": 5},
    ("attack", "apgd", "restarts"): {"steps": 12},
    ("defense", "input_transformation", "kind=crop_resize"): {"strength": 0.5},
    ("defense", "input_transformation", "kind=binarise"): {"strength": 0.5},
    ("defense", "input_transformation", "gradient"): {"kind": "binarise", "strength": 0.5},
    ("training", "standard", "momentum"): {"optimizer": "sgd"},
    ("training", "standard", "nesterov"): {"optimizer": "sgd", "momentum": 0.9},
    ("training", "standard", "cosine_t_max"): {"schedule": "cosine"},
    ("training", "standard", "factor"): _STEPPED,
    ("training", "standard", "patience"): {**_VALIDATED, "schedule": "plateau"},
    ("training", "standard", "early_stopping"): _VALIDATED,
    ("training", "standard", "schedule=step"): _STEPPED,
    ("training", "standard", "schedule=plateau"): {**_VALIDATED, "patience": 1},
    ("training", "standard", "checkpoint=best_validation"): _VALIDATED,
    ("training", "standard", "checkpoint=best_test"): {"lr": 0.01},
    ("training", "standard", "checkpoint=best_watched"): _VALIDATED,
    ("training", "standard", "watch"): {**_VALIDATED, "early_stopping": 2},
}
"""What makes a choice possible, or visible. A choice that a component refuses as it stands is left out."""
INSTEAD: Mapping[tuple[str, str, str], list[Json]] = {
    ("activation", "drelu", "cap"): [1.0],
    ("activation", "lwta", "units"): [3],
    ("architecture", "inception_v3", "dropout"): [],
    ("architecture", "mobilenet_v2", "dropout"): [],
    ("architecture", "vgg16", "dropout"): [],
    ("architecture", "wide_resnet", "depth"): [16],
    ("attack", "square", "queries"): [],
    ("dataset", "imagefolder", "side"): [3],
    ("dataset", "parquet", "size"): [3],
    ("dataset", "parquet", "crop"): [3],
    ("training", "standard", "early_stopping"): [2],
    ("training", "standard", "samples"): [20],
    ("probe", "activation_regimes", "layers"): [None, [1]],
    ("probe", "perturbation_growth", "layers"): [[-1]],
}
"""In place of the values below. Costly nets, and files, have sizes of their own."""
SHARED_ARE_PINNED_WITH = {"architecture": ("mlp", "cnn_small"), "activation": ("sigmoid",)}
"""What every component of a kind has beside its own parameters is not pinned with every one of them."""
SHARED: Mapping[str, list[Json]] = {"extra_dense": [5], "extra_conv": [2], "layers": [[-1], [1]]}


def choices(description: Description) -> Iterator[Parameters]:
    """The parameters of each case, complete; those of the defaults first."""
    key = description.kind, description.name
    own = {
        name: parameter
        for name, parameter in description.parameters.items()
        if name not in registry.shared(description.kind).parameters
    }
    first = {name: _first(parameter) for name, parameter in own.items()} | FIRST.get(key, {})
    yield first
    for name, parameter in own.items():
        for value in INSTEAD.get((*key, name), _others(parameter.type, first[name])):
            beside = {**BESIDE.get((*key, name), {}), **BESIDE.get((*key, f"{name}={value}"), {})}
            yield {**first, **beside, name: value}
    if description.name in SHARED_ARE_PINNED_WITH.get(description.kind, ()):
        for name in registry.shared(description.kind).parameters:
            yield from ({**first, name: value} for value in SHARED[name])


def _first(parameter: registry.Parameter) -> Json:
    if parameter.default is not REQUIRED:
        return parameter.default
    return REQUIRED_FLOAT if _bare(parameter.type) is float else None


def _others(kind: Any, first: Json) -> list[Json]:
    """Other values of a type: all that it lists, or one of a number."""
    bare = _bare(kind)
    if typing.get_origin(bare) is Literal:
        return [value for value in typing.get_args(bare) if value != first]
    if typing.get_origin(bare) is list:
        inner = _bare(typing.get_args(bare)[0])
        return [[value] for value in typing.get_args(inner)] if typing.get_origin(inner) is Literal else []
    if bare is bool:
        return [not first]
    if bare is int:
        return [max(1, first // 2) if isinstance(first, int) and first > 1 else 2]
    if bare is float:
        return [first / 2 if isinstance(first, int | float) and first else 0.05]
    return []


def _bare(kind: Any) -> Any:
    """A type without what constrains it, and without None."""
    if typing.get_origin(kind) in {types.UnionType, typing.Union}:
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    return typing.get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
