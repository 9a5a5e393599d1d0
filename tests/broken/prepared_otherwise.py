"""An attack whose prepare step is not what it declares."""

import torch

from broken.mark import breaks
from tasks.parameters import Count
from tasks.registry import component
from tasks.types import Prepared


@breaks("prepares_as_declared")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none", prepared=True)
def another_default(
    model, images, labels, budget, streams, state, *, fit_split: str = "train", fit_samples: Count = 100
):
    """Its `prepare` has another default than it has."""
    return (images + state["shift"]).clamp(*model.box), torch.ones_like(labels)


def prepare(model, images, labels, budget, streams, *, fit_split: str = "train", fit_samples: Count = 50):
    return Prepared({"shift": torch.full((1,), budget.eps, dtype=images.dtype)}, {})
