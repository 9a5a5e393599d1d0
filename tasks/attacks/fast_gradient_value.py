"""The fast gradient value method: one step along the gradient itself, not along its sign."""

import torch

from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import clip, length_of, radius, rowwise
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Steps


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1605.01775",
    norms=("linf", "l2"),
    budget="eps",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
)
def fast_gradient_value(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
) -> tuple[Images, Steps]:
    """FGV, https://arxiv.org/abs/1605.01775: x + s gradient of the head's loss, s such that the step is eps long.

    Rozsa, Rudd and Boult 2016, the fast gradient value approach. eps is the largest absolute value of the step in
    linf and its Euclidean length in l2; the box, if any, is kept afterwards and may shorten it. The paper searches s
    for the smallest step that fools; here the budget sets it. One forward and one backward; the image returned is
    not evaluated.
    """
    gradient, _ = model.ascent(images, labels)
    moved = torch.addcmul(images, gradient, rowwise(radius(budget) / length_of(gradient, budget.norm), gradient))
    return clip(moved, model.box, out=moved), torch.ones_like(labels)
