"""A classifier of digits in float64 whose weights are worked out, not trained: the same on every processor."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import deterministic
from trainings import REAL

from tasks import noise
from tasks.config import Component
from tasks.defenses.randomised_smoothing import GaussianNoise
from tasks.model import Classifier, load_split
from tasks.types import DataRoot, Split

SHAPE, CLASSES = (1, 8, 8), 10
Kind = Literal["plain", "capped", "drawing", "smoothed"]


class Rectifier(nn.ReLU):
    """A rectifier that says where it is linear."""

    def regimes(self, net):
        return net > 0, net <= 0


class Capped(nn.Module):
    """A rectifier with a low cap: most units have no gradient."""

    def forward(self, net):
        return net.clamp(0, 0.2)


class Scores(nn.Linear):
    """The softmax of logistic regression."""

    def log_probabilities(self, scores):
        return scores.log_softmax(1)


class Drawing(nn.Module):
    """Draws numbers for each image, as a stochastic layer does."""

    stochastic = True

    def forward(self, images):
        return images + 0.1 * (noise.uniform(images) - 0.5)


@contextmanager
def repeatable() -> Iterator[None]:
    """One thread, and torch's own draws from a fixed seed; afterwards all is as it was."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filling = deterministic.fill_uninitialized_memory
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    deterministic.fill_uninitialized_memory = False  # which takes a third of the time of a large network
    try:
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)
        deterministic.fill_uninitialized_memory = filling


@contextmanager
def in_float64() -> Iterator[None]:
    """What is made inside has float64 weights, drawn as such."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def digits(split: str) -> Split:
    return load_split(Component("dataset", "digits", 1), split, DataRoot(REAL.path))


@cache
def pixels(split: str) -> tuple[Tensor, Tensor]:
    """The images of a split, float64, and their labels."""
    found = digits(split)
    return found.images.double(), found.labels


def drawn(seed: int, *shape: int) -> Tensor:
    """Numbers in [-1, 1) from bits alone: no logarithm or cosine that another processor rounds otherwise."""
    return torch.from_numpy(np.random.default_rng(seed).random(shape) * 2 - 1)


def filled(module: nn.Module, seed: int = 0) -> nn.Module:
    """Its weights drawn so, as large as their layer is wide."""
    module.double()
    with torch.no_grad():
        for number, weight in enumerate(module.parameters()):
            width = weight[0].numel() if weight.dim() > 1 else 16
            weight.copy_(drawn(100 * seed + number, *weight.shape) * width**-0.5)
    return module


def classifier(kind: Kind = "plain") -> Classifier:
    """Most digits right; `drawing` has noise of a toy before it, `smoothed` that of randomised smoothing.

    `capped` has eight hidden units with a low cap, so that its gradient often vanishes, and scores so far apart that
    the softmax saturates in float64. It is wrong more often.
    """
    model = _network(capped=kind == "capped")
    model.head.load_state_dict(_solved(capped=kind == "capped"))
    model.input = {"drawing": Drawing(), "smoothed": GaussianNoise(0.1)}.get(kind, nn.Identity())
    return model


@cache
def _solved(*, capped: bool) -> dict[str, Tensor]:
    """The weights of a head that fits the training digits best (ridge regression) on drawn features."""
    model = _network(capped=capped)
    images, labels = pixels("train")
    with torch.no_grad():
        features = model.body((images - model.mean) / model.std)
        features = torch.cat([features, torch.ones_like(features[:, :1])], 1)
        aims = 10 * nn.functional.one_hot(labels, CLASSES).double() - 1
        gram = features.T @ features + torch.eye(features.shape[1], dtype=torch.float64)
        found = torch.linalg.solve(gram, features.T @ aims)
    found = 40 * found if capped else found
    return {"weight": found[:-1].T.contiguous(), "bias": found[-1]}


def _network(*, capped: bool) -> Classifier:
    if capped:
        return _made(nn.Flatten(), nn.Linear(64, 8), Capped())
    return _made(nn.Flatten(), nn.Linear(64, 96), Rectifier(), nn.Linear(96, 64), Rectifier())


def _made(*layers: nn.Module, seed: int = 0) -> Classifier:
    """Those layers and scores of ten classes, with drawn weights, while it evaluates."""
    width = [layer for layer in layers if isinstance(layer, nn.Linear)][-1].out_features
    activations = [layer for layer in layers if isinstance(layer, Rectifier | Capped)]
    how = {"shape": SHAPE, "num_classes": CLASSES, "mean": (0.3,), "std": (0.4,), "activations": activations}
    return filled(Classifier(nn.Sequential(*layers), Scores(width, CLASSES), **how), seed).eval()


def small(seed: int = 0) -> Classifier:
    """An untrained one with a convolution, for what trains it."""
    layers = nn.Conv2d(1, 3, 3), Rectifier(), nn.Flatten(), nn.Linear(108, 12), Rectifier()
    return _made(*layers, seed=seed)


def summed(values: Tensor) -> list[float]:
    """A number for each row, in which every value has a weight of its own."""
    flat = values.detach().double().flatten(1)
    return (flat * torch.linspace(1, 2, flat.shape[1], dtype=torch.float64).sqrt()).sum(1).tolist()
