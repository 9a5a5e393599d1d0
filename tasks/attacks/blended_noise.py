"""Blended noise: how much of an image must give way to uniform noise."""

import torch
from torch import Tensor

from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import rowwise
from tasks.parameters import Count, CountOrZero
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Rows, Steps


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1707.04131",
    norms=("l2",),
    budget="minimal",
    knowledge="decision",
    targeting=("untargeted", "targeted"),
    stops=True,
)
def blended_noise(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    blends: Count = 50,
    bisections: CountOrZero = 10,
    tries: Count = 50,
) -> tuple[Images, Steps]:
    """Blended uniform noise, https://arxiv.org/abs/1707.04131: (1 - s) x + s noise, s the smallest found that fools.

    Rauber, Brendel and Bethge 2017, the attack of that name in Foolbox; a control for decision-based attacks, and
    the start of the Boundary Attack. The noise is uniform in [0, 1], the first of `tries` draws that fools by
    itself. s is searched upwards in `blends` equal parts, and then halved `bisections` times between the last part
    that does not fool and the first that does. Where no noise fools, NaN comes back. Steps are the blends made.
    """
    made = torch.zeros_like(labels)

    def looked_at(rows: Rows, share: Tensor) -> Tensor:
        made[rows] += 1
        blended = torch.lerp(images[rows], noise[rows], rowwise(share, images))
        view = model.at(rows)
        return view.confirmed(blended, labels[rows], view.fooled(view(blended), labels[rows]))

    with torch.no_grad():
        already = model.confirmed(images, labels, model.fooled(model(images), labels))
        rows = torch.nonzero(~already)[:, 0]
        noise = _fooling_noise(model, images, labels, streams, rows, tries)
        share = (~already).to(images.dtype)
        noise[already] = images[already]
        blended = rows = rows[noise[rows].isfinite().flatten(1).all(1)]
        for blend in range(1, blends):
            if len(rows) == 0:
                break
            fools = looked_at(rows, share.new_full((len(rows),), blend / blends))
            share[rows[fools]] = blend / blends
            rows = rows[~fools]
        high = share[blended]
        low = high - 1 / blends
        for _ in range(bisections if len(blended) > 0 else 0):
            middle = (low + high) / 2
            fools = looked_at(blended, middle)
            low, high = torch.where(fools, low, middle), torch.where(fools, middle, high)
        share[blended] = high
    return torch.lerp(images, noise, rowwise(share, images)), made


def _fooling_noise(
    model: CountedModel, images: Images, labels: Labels, streams: Streams, rows: Rows, tries: int
) -> Images:
    """For each row the first of its draws that fools; NaN where none does, and for all other images."""
    found = torch.full_like(images, torch.nan)
    for draw in range(tries):
        if len(rows) == 0:
            break
        noise = streams.at(rows).uniform("noise", draw, tuple(images.shape[1:]), images.dtype)
        noise, view = model.inputs(noise), model.at(rows)
        fools = view.confirmed(noise, labels[rows], view.fooled(view(noise), labels[rows]))
        found[rows[fools]] = noise[fools]
        rows = rows[~fools]
    return found
