"""Toy components for grids that are really run: they sleep, draw, and misbehave in every way a component can."""

import os
import time
from pathlib import Path

import torch
from torch import nn

from tasks.registry import component
from tasks.types import Prepared


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def slow(model, images, labels, budget, streams, *, seconds: float = 0.2):
    """Sleeps, then adds uniform noise of the budget's size from the samples' own streams."""
    time.sleep(seconds)
    noise = streams.uniform("noise", 0, tuple(images.shape[1:]), images.dtype)
    return (images + budget.eps * (2 * noise - 1)).clamp(0, 1), torch.ones_like(labels)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def misbehaving(model, images, labels, budget, streams, *, how: str = "raises"):
    """Breaks the contract in the way that `how` names."""
    steps = torch.zeros_like(labels)
    if how == "raises":
        raise RuntimeError("this attack always raises")
    if how == "nan":
        return torch.where(torch.rand_like(images) < 0.5, torch.nan, images), steps
    if how == "shape":
        return images[:, :, :-1], steps
    if how == "box":
        return images + 2, steps
    if how == "budget":
        return 1 - images, steps
    if how == "dies":
        os._exit(9)
    raise AssertionError(how)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def dies_once(model, images, labels, budget, streams, *, marker: str = ""):
    """Kills its own process the first time it is called, which leaves a marker file."""
    if not Path(marker).exists():
        Path(marker).touch()
        os._exit(9)
    return images.clone(), torch.zeros_like(labels)


class Broken(nn.Module):
    width = 4

    def __init__(self, inputs):
        super().__init__()
        self.linear = nn.Linear(inputs, 4)

    def forward(self, images):
        return self.linear(images.flatten(1)) * (1.0 if self.training else torch.nan)


@component("architecture", version=1)
def nan_when_evaluated(shape, activation):
    """Trains, but gives NaN when it is evaluated."""
    return Broken(shape[0] * shape[1] * shape[2])


class Untrainable(nn.Flatten):
    """Raises in its first pass in training."""

    width = 64

    def forward(self, images):
        if self.training:
            raise ValueError("this architecture cannot be trained")
        return super().forward(images)


@component("architecture", version=1)
def cannot_be_trained(shape, activation):
    """Raises where it is trained."""
    return Untrainable()


def prepare(model, images, labels, budget, streams, *, fit_split="train", fit_samples=None, how=""):
    """The mean image of the set, and how many there are; `how` may break it."""
    if how == "raises":
        raise ValueError("this prepare step always raises")
    gradient, _ = model.ascent(images, labels)
    return Prepared({"direction": gradient.mean(0).sign()}, {"brightness": float(images.mean())})


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box", prepared=True)
def stamp(
    model, images, labels, budget, streams, state, *,
    fit_split: str = "train", fit_samples: int | None = None, how: str = "",
):  # fmt: skip
    """Adds one direction, made beforehand, to every image."""
    return (images + budget.eps * state["direction"]).clamp(0, 1), torch.ones_like(labels)
