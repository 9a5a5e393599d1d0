"""The fast gradient sign method: one step to the corner of the ball that the gradient points at."""

from typing import Literal

import torch

from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import clip, radius
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Steps


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1412.6572",
    norms=("linf",),
    budget="eps",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
)
def fgsm(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    gradient: Literal["log_odds", "head", "score"] = "log_odds",
) -> tuple[Images, Steps]:
    """FGSM, https://arxiv.org/abs/1412.6572: x + eps sign(gradient of the loss), clipped to the box if any.

    Goodfellow et al. 2015, section 4. With targets x - eps sign(gradient of the target's loss), as in the softRmax
    thesis, Ingendaa 2024. One forward and one backward; the image returned is not evaluated, whether it fools or not.

    The gradient is that of the head's log-odds, which points where the loss grows and does not vanish with it. With
    gradient: head it is the loss's own in the model's precision, exactly 0 where the head is saturated, as in most
    published work. With gradient: score nothing but the label's own score is lowered (or the target's raised): the
    negative log-likelihood taken of raw scores, as in the code of Alvarez Cabrera 2020.
    """
    upwards, _ = model.ascent(images, labels, gradient)
    moved = torch.add(images, upwards.sign(), alpha=radius(budget))
    return clip(moved, model.box, out=moved), torch.ones_like(labels)
