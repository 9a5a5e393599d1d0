"""What the adapters of other attack libraries share: the model that a library is given, and the way there and back.

Knows nothing of any one library: `foolbox`, `torchattacks` and `art` beside this file do.
"""

import hashlib
import importlib
import inspect
import random
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tasks.cases import Budget
from tasks.config import Json
from tasks.counted import CountedModel
from tasks.model import seeded
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Rows, Scores, Steps, TaskError
from tasks.words import closest

Peer = Callable[["PixelModel", Images, Rows], Tensor]
"""A library's attack: the model, the pixels of some of the batch's samples, and which these are -> pixels."""
_NOTHING = ("init_attack failed for", "starting_points are not adversarial")
P = {"l0": 0, "l1": 1, "l2": 2, "linf": float("inf")}
"""The order of each norm."""


class PixelModel(nn.Module):
    """Pixels in [0, 1], (any, channels, height, width), to scores: what a library is given to attack.

    A batch as large as that of the samples holds them in their order. In any other, an image counts for the sample
    whose clean image is nearest in l2: libraries drop, repeat and single out samples, and do not say which.
    """

    def __init__(self, model: CountedModel, pixels: Images) -> None:
        super().__init__()
        # Libraries find a module's device by its parameters.
        self.device_mark = nn.Parameter(pixels.new_zeros(()), requires_grad=False)
        self._counted = model
        self._clean = pixels.flatten(1)

    def forward(self, pixels: Images) -> Scores:
        """Scores, counted."""
        pixels = pixels.to(self._clean)
        counted = self._counted
        if len(pixels) != len(self._clean):
            counted = counted.at(self._nearest(pixels.detach().flatten(1)))
        return counted(self._counted.inputs(pixels))

    def _nearest(self, flat: Tensor) -> Rows:
        return torch.cdist(flat, self._clean).argmin(1)


def library(name: str, command: str) -> Any:  # noqa: ANN401 - a module that only its users' machines have
    """Import a library's module. AttackError, naming the command that installs it, where it is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a library imports is its own affair
            return importlib.import_module(name)
    except ImportError as error:
        raise AttackError(f"{name.partition('.')[0]} cannot be imported ({error}); install it: {command}") from error


def attack_class(module: Any, name: str, base: type) -> Any:  # noqa: ANN401 - a class of another library
    """The attack class of that name in a library's module of attacks. AttackError for any other name."""
    known = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base and not inspect.isabstract(value)
    }
    if name not in known:
        raise AttackError(f"{module.__name__} has no attack {name!r}. {_hint(name, known)}")
    return known[name]


def accepted(kind: type) -> dict[str, inspect.Parameter]:
    """What a class is made with, by name."""
    variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    found = inspect.signature(kind).parameters
    return {name: parameter for name, parameter in found.items() if parameter.kind not in variadic}


def make(
    kind: Any,  # noqa: ANN401 - a class of another library
    positional: tuple[object, ...],
    given: Mapping[str, Json],
    ours: Mapping[str, object],
    usual: Mapping[str, object] = MappingProxyType({}),
) -> Any:  # noqa: ANN401 - what such a class makes
    """An attack of another library: its first arguments, the spec's parameters, and what it knows of ours.

    `usual` are defaults better than the library's. AttackError for a parameter of the spec that the class does not
    have, or that is ours to set.
    """
    has = list(accepted(kind))[len(positional) :]
    free = [name for name in has if name not in ours]
    for name in given:
        if name in ours:
            raise AttackError(f"{kind.__name__}: {name!r} follows from budget and targets, and cannot be set")
        if name not in free:
            raise AttackError(f"{kind.__name__} has no parameter {name!r}. {_hint(name, free)}")
    fitting = {name: value for name, value in {**usual, **given, **ours}.items() if name in has}
    return kind(*positional, **fitting)


def pixel_eps(model: CountedModel, budget: Budget, channels: int) -> float | None:
    """The eps of a budget in units of pixels in [0, 1]. AttackError where one eps is several in those units."""
    if budget.eps is None or budget.space == "pixel" or budget.norm == "l0":
        return budget.eps
    zero = model.forwards.new_zeros(1, channels, 1, 1, dtype=torch.float64)
    units = (model.inputs(zero + 1) - model.inputs(zero)).flatten().tolist()
    if max(units) - min(units) > 1e-6 * max(units):
        raise AttackError("std differs by channel, so no ball in pixels is this ball: give eps in space: pixel")
    return float(budget.eps / units[0])


def refuse_eps(kind: type, eps: float | None) -> None:
    """AttackError where a class has the parameter `eps` and there is none, or the other way round."""
    if eps is None and "eps" in accepted(kind):
        raise AttackError(f"{kind.__name__} needs a budget with an eps")
    if eps is not None and "eps" not in accepted(kind):
        raise AttackError(f"{kind.__name__} has no budget to keep: leave eps out, and its distances are recorded")


def seed_of(streams: Streams) -> int:
    """A seed in 0..2^31-1 made of the streams of all samples of the batch."""
    drawn = streams.uniform("library", 0, (2,), torch.float64).cpu().numpy()
    return int.from_bytes(hashlib.sha256(drawn.tobytes()).digest()[:4]) >> 1


def called(name: str, attack: Peer, model: CountedModel, images: Images, streams: Streams) -> tuple[Images, Steps]:
    """Call a library: `attack(module, pixels, rows)` gives pixels of some rows, which go back to the budget's space.

    Its output goes to standard error, its global random numbers follow the streams. It does not say how many steps
    it made, so a sample's forward passes stand for them. Where it gives up because it found nothing to start from for
    some sample, both halves of the batch are tried again, and NaN comes back of a sample with which it gives up alone.
    AttackError for whatever else it raises.
    """
    if len(images) == 0:
        return images.clone(), model.forwards.clone()
    # A library checks the box without tolerance, and may write into what it is given.
    pixels = model.pixels(images).detach().clamp(0, 1)
    rows = torch.arange(len(images), device=images.device)
    with redirect_stdout(sys.stderr):
        found = _tried(name, attack, model, pixels, streams, rows)
    # The way through pixels, or through the library's float32, must not count as a change.
    kept = (found == pixels) | (found == pixels.float().to(pixels.dtype))
    return torch.where(kept, images, model.inputs(found)), model.forwards.clone()


def _tried(name: str, attack: Peer, model: CountedModel, pixels: Images, streams: Streams, rows: Rows) -> Images:
    """What a library makes of some rows: at once, or if it gives up over one of them, of fewer at a time."""
    some = pixels[rows]
    try:
        with _global_random(seed_of(streams.at(rows)), pixels.device):
            return attack(PixelModel(model.at(rows), some.clone()), some.clone(), rows).detach().to(pixels)
    except (TaskError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if not _found_nothing(error):
            raise AttackError(f"{name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}") from error
    if len(rows) == 1:
        return torch.full_like(some, torch.nan)
    halves = rows.tensor_split(2)
    return torch.cat([_tried(name, attack, model, pixels, streams, half) for half in halves])


def _found_nothing(error: Exception) -> bool:
    """Whether an error is a library's way to say that it found no adversarial point to start from for some sample.

    Foolbox says so in words (Boundary, HopSkipJump), or asserts it without any (Pointwise, Brendel and Bethge).
    """
    if isinstance(error, AssertionError):
        raised = traceback.extract_tb(error.__traceback__)[-1]
        return (raised.line or "").startswith("assert is_adversarial(")
    return isinstance(error, ValueError) and any(words in str(error) for words in _NOTHING)


def classes(model: CountedModel, labels: Labels) -> Labels:
    """What a library is told to aim at: the targets, or the labels to get away from."""
    return labels if model.targets is None else model.targets


@contextmanager
def _global_random(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, the global generators of torch, numpy and Python start from a seed; outside, nothing has changed."""
    states = np.random.get_state(), random.getstate()
    try:
        with seeded(seed, device):
            np.random.seed(seed)
            random.seed(seed)
            yield
    finally:
        np.random.set_state(states[0])
        random.setstate(states[1])


def _hint(name: str, known: Iterable[str]) -> str:
    close = closest(name, known)
    return f"Did you mean {close!r}?" if close else f"Known: {', '.join(sorted(known))}"
