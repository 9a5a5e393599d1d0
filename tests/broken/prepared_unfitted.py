"""An attack whose prepare step cannot be told what to fit to."""

import torch

from broken.mark import breaks
from tasks.registry import component
from tasks.types import Prepared


@breaks("prepares_as_declared")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none", prepared=True)
def fitted_to_anything(model, images, labels, budget, streams, state):
    """It does not say to which images it is fitted."""
    return (images + state["shift"]).clamp(*model.box), torch.ones_like(labels)


def prepare(model, images, labels, budget, streams):
    return Prepared({"shift": torch.full((1,), budget.eps, dtype=images.dtype)}, {})
