"""Attacks with a prepare step: one that keeps every promise, and one that spoils what it was given."""

import torch

from broken.mark import breaks, keeps
from tasks.parameters import Count
from tasks.registry import component
from tasks.types import Prepared


@keeps
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box", prepared=True)
def good(model, images, labels, budget, streams, state, *, fit_split: str = "train", fit_samples: Count = 100):
    """One step for all images, along the sign of the sum of the gradients."""
    return (images + budget.eps * state["direction"].to(images)).clamp(*model.box), torch.ones_like(labels)


@breaks("leaves_what_it_is_given")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box", prepared=True)
def writes_its_state(
    model, images, labels, budget, streams, state, *, fit_split: str = "train", fit_samples: Count = 100
):
    """It scales its prepared state in place."""
    state["direction"] *= budget.eps
    return (images + state["direction"].to(images)).clamp(*model.box), torch.ones_like(labels)


def prepare(model, images, labels, budget, streams, *, fit_split: str = "train", fit_samples: Count = 100):
    gradient, _ = model.ascent(images, labels)
    return Prepared({"direction": gradient.sum(0, keepdim=True).sign()}, {})
