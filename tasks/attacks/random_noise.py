"""Random noise: what a perturbation of the same length does that knows nothing of the model."""

from typing import Literal

import torch

from tasks.attacks._climb import standing, unclimbed
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import length_of, radius, rowwise
from tasks.parameters import Count
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Rows, Steps


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1608.08967",
    norms=("linf", "l2"),
    budget="eps",
    knowledge="score",
    targeting=("untargeted", "targeted"),
    stops=True,
)
def random_noise(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    kind: Literal["uniform", "gaussian", "sign"] = "uniform",
    tries: Count = 1,
) -> tuple[Images, Steps]:
    """Random noise, https://arxiv.org/abs/1608.08967: x + noise of length eps, the control of every other attack.

    Fawzi, Moosavi-Dezfooli and Frossard 2016, whose noise is the gaussian kind in l2: uniform on the sphere. Each
    value is drawn from [-1, 1], from a normal distribution, or is -1 or 1; then the whole is scaled so that its norm
    is eps, and clipped to the box if any. Up to `tries` draws are made, until a sample is finished (`tasks.counted`);
    else the one with the smallest margin comes back. A single draw is not evaluated and costs no pass. Steps are the
    draws.
    """
    best, made = unclimbed(images), torch.zeros_like(labels)
    rows = torch.arange(len(labels), device=labels.device)
    for draw in range(tries):
        if len(rows) == 0:
            break
        noisy = _noisy(images, rows, budget, streams, kind, draw).clamp(*model.box)
        made[rows] += 1
        if tries == 1:
            return noisy, made
        with torch.no_grad():
            known = best.at(rows)
            view, own = model.at(rows), labels[rows]
            known.offer(noisy, standing(view, noisy, view.looks(noisy, own).scores, own, "success"))
        best.put(rows, known)
        rows = rows[known.standing > -torch.inf]
    return best.images, made


def _noisy(images: Images, rows: Rows, budget: Budget, streams: Streams, kind: str, draw: int) -> Images:
    """Some of the images, each with its own noise of length eps."""
    clean, drawn, shape = images[rows], streams.at(rows), tuple(images.shape[1:])
    if kind == "gaussian":
        noise = drawn.normal("noise", draw, shape, clean.dtype)
    else:
        noise = drawn.uniform("noise", draw, shape, clean.dtype).mul_(2).sub_(1)
        noise = noise if kind == "uniform" else torch.where(noise < 0, -1.0, 1.0).to(clean.dtype)
    return clean.addcmul(noise, rowwise(radius(budget) / length_of(noise, budget.norm), noise))
