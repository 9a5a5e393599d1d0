"""An attack whose prepare step makes something else each time."""

import random

import torch

from broken.mark import breaks
from tasks.parameters import Count
from tasks.registry import component
from tasks.types import Prepared


@breaks("prepares_the_same_again")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box", prepared=True)
def stamped(model, images, labels, budget, streams, state, *, fit_split: str = "train", fit_samples: Count = 100):
    """It puts a random number into its state, although it makes no use of it."""
    return (images + budget.eps * state["direction"].to(images)).clamp(*model.box), torch.ones_like(labels)


def prepare(model, images, labels, budget, streams, *, fit_split: str = "train", fit_samples: Count = 100):
    gradient, _ = model.ascent(images, labels)
    return Prepared({"direction": gradient.sum(0, keepdim=True).sign(), "stamp": torch.tensor(random.random())}, {})
