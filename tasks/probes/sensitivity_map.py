"""Which pixels move the label's score, and all other scores with or against it."""

from typing import Literal

import torch
from torch import Tensor

from tasks.counted import CountedModel
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Measure


@component("probe", version=1, paper="https://arxiv.org/abs/1511.07528")
def sensitivity_map(
    model: CountedModel,
    images: Images,
    labels: Labels,
    streams: Streams,
    *,
    variant: Literal["published", "corrected"] = "corrected",
    store_map: bool = False,
) -> list[Measure]:
    """Saliency of each pixel for the label's score, https://arxiv.org/abs/1511.07528.

    The saliency map of JSMA, Papernot et al. 2016, equation 8, as Sooksatra's dissertation, Baylor 2025, figure 4.12,
    uses it on its capped ReLUs. With t the label, a = dZ_t/dx and b = the sum over c != t of dZ_c/dx, elementwise in
    pixels and channels, the map is
      corrected: a |b| where a > 0 and b < 0, else 0, which is equation 8;
      published: max(0, a b), as the dissertation prints it, which keeps the places where both have the same sign.
    Z are the head's scores, pixels are in [0, 1].

    Per image: `sensitivity`, the sum of the map, and with `store_map` also `map`, whose elements are those of the image
    in the order channel, row, column. One forward and two backwards.
    """
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        scores = model(leaf)
        own = scores.gather(1, labels[:, None])[:, 0]
    (rising,) = torch.autograd.grad(own.sum(), leaf, retain_graph=True)
    others = torch.ones_like(scores).scatter_(1, labels[:, None], 0)
    (falling,) = torch.autograd.grad(scores, leaf, others)
    saliency = _saliency(rising.flatten(1).double(), falling.flatten(1).double(), variant)
    total = Measure("sensitivity", saliency.sum(1))
    return [total, Measure("map", saliency)] if store_map else [total]


def _saliency(own: Tensor, others: Tensor, variant: Literal["published", "corrected"]) -> Tensor:
    """(batch, values), not negative."""
    if variant == "published":
        return (own * others).clamp(min=0)
    return own.clamp(min=0) * (-others).clamp(min=0)
