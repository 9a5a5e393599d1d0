"""How steep the loss is in the image."""

from collections.abc import Iterator

import torch
from torch import Tensor

from tasks.counted import CountedModel
from tasks.lone_class import lone_class
from tasks.refusals import refuse
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Measure, TaskError


@component("probe", version=1, paper="https://doi.org/10.1007/978-3-030-61609-0_6")
def input_gradient(
    model: CountedModel,
    images: Images,
    labels: Labels,
    streams: Streams,
) -> list[Measure]:
    """Size of the loss's gradient in the pixels, https://doi.org/10.1007/978-3-030-61609-0_6.

    Beckova, Pocos and Farkas 2020. L is the head's negative log-likelihood of the label, of each image by
    itself, pixels are in [0, 1], and the gradient is the plain one in the model's own precision. Per image:
    `mean_abs_gradient`, the paper's G(x): the mean over pixels and channels of |dL/dx|; the gradient's `l1`, `l2` and
    `linf`; `zero_share`, the share of its entries that are exactly 0, which says how far to trust attacks that
    follow it; and `true_class_confidence`, the label's probability, whose correlation with G(x) the paper reports.

    `gradient_margin_ratio` is |grad z_a - grad z_b|_2 / (z_a - z_b), with a and b the classes of the largest and the
    second largest score, from the code of softRmax (https://arxiv.org/abs/2203.12693): the reciprocal of a linear
    model's l2 distance to the decision boundary. None where the two are equal. One forward and two backwards.
    """
    refuse(TaskError, refuses(classes=model.num_classes))
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        scores = model(leaf)
        likelihoods = model.log_probabilities(scores).gather(1, labels[:, None])[:, 0]
        best = scores.topk(2, dim=1).values
        lead = best[:, 0] - best[:, 1]
    (slope,) = torch.autograd.grad(-likelihoods.sum(), leaf, retain_graph=True)
    (lead_slope,) = torch.autograd.grad(lead.sum(), leaf)
    steepness = slope.flatten(1).double()
    ratio = _norm(lead_slope.flatten(1), 2) / lead.detach().double()
    return [
        Measure("mean_abs_gradient", steepness.abs().mean(1)),
        Measure("l1", _norm(steepness, 1)),
        Measure("l2", _norm(steepness, 2)),
        Measure("linf", _norm(steepness, torch.inf)),
        Measure("zero_share", (steepness == 0).double().mean(1)),
        Measure("true_class_confidence", likelihoods.detach().exp()),
        Measure("gradient_margin_ratio", torch.where(lead > 0, ratio, torch.nan)),
    ]


def _norm(rows: Tensor, order: float) -> Tensor:
    """(batch,), in float64: the squares of small gradients are 0 in float32."""
    norm: Tensor = torch.linalg.vector_norm(rows, order, dim=1, dtype=torch.float64)
    return norm


def refuses(*, classes: int) -> Iterator[str]:
    """A single class."""
    yield from lone_class("input_gradient", classes)
