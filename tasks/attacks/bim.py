"""The basic iterative method: FGSM in small steps."""

from typing import Literal

import torch

from tasks.ascent import Gradient
from tasks.attacks._ball import Ball
from tasks.attacks._climb import ascend, climb
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import radius
from tasks.parameters import Count
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Steps


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1607.02533",
    norms=("linf",),
    budget="eps",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    leaves_budget={"variant": "published"},
    stops=True,
    added={"returns": "best"},
)
def bim(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    steps: Count = 10,
    variant: Literal["corrected", "published"] = "corrected",
    gradient: Literal["log_odds", "head"] = "log_odds",
    stop: Literal["success", "never"] = "success",
    returns: Literal["best", "last"] = "best",
) -> tuple[Images, Steps]:
    """BIM, https://arxiv.org/abs/1607.02533: `steps` sign steps of eps / steps up the head's loss, from the image.

    Kurakin et al. 2017, section 2.2. What is returned, and when a sample is finished, is as in PGD. The published
    variant is that of the softRmax thesis, Ingendaa 2024: its clip rule drifts out of the ball, all steps are made
    whatever `stop` says, and the last point is returned. `gradient` is as in FGSM.
    """
    if variant == "published":
        return _drift(model, images, labels, radius(budget), steps, gradient)
    ball = Ball(images, budget, model.box)
    length = radius(budget) / steps
    if returns == "last":
        return ascend(model, images, labels, ball, length=length, steps=steps, of=gradient)
    found = climb(model, images, labels, ball, length=length, steps=steps, stop=stop, of=gradient)
    return found.images, found.steps


def _drift(
    model: CountedModel, images: Images, labels: Labels, eps: float, steps: int, of: Gradient
) -> tuple[Images, Steps]:
    """The thesis's clip rule: the lower bound is at least 0, the upper one is taken from the stepped point."""
    lower = (images - eps).clamp(min=0)
    points = images
    for _ in range(steps):
        gradient, _ = model.ascent(points, labels, of)
        stepped = points + eps / steps * gradient.sign()
        points = torch.minimum(torch.maximum(stepped, lower), stepped + eps).clamp(*model.box)
    return points, torch.full_like(labels, steps)
