"""SparseFool: reach a boundary that DeepFool found by as few pixel values as possible, each as far as it may go."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tasks.attacks._class_boundary import settled
from tasks.attacks._deepfool_walk import Rules, differs, walk
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.lone_class import lone_class
from tasks.metrics import Box, clip, rowwise
from tasks.parameters import Count, NonNegative, Positive
from tasks.per_sample import PerSample
from tasks.refusals import refuse
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Rows, Steps

_WALK_STEPS = 50
"""Steps of each walk of DeepFool."""
_BEYOND = 1e-3
"""How far beyond the plane the linear solver ends, as in the paper's code."""
_LEAST = 1e-4
"""The shortest step of a value, and of DeepFool, in the paper's code."""
_THINNINGS = 2
"""How often a point that fools gives back what it does not need."""
_FLAT = 1e-30


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1811.02248",
    norms=("l0",),
    budget="minimal",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    stops="drawing",
)
def sparsefool(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    steps: Count = 50,
    sparsity: Positive = 3.0,
    delta: Positive = 1.0,
    overshoot: NonNegative = 0.02,
    epsilon: NonNegative = 0.02,
    variant: Literal["corrected", "published"] = "corrected",
) -> tuple[Images, Steps]:
    """SparseFool, https://arxiv.org/abs/1811.02248: DeepFool's boundary as a plane, crossed value by value.

    Modas et al. 2019, algorithms 1 and 2. Each step walks from x_i by DeepFool (l2, out of the box) to x_i +
    (1 + `overshoot`) r. A plane with the boundary's normal is laid through x_i + `sparsity` r (the paper's lambda), and
    one channel value after the other moves until x_i is across, each as far as [l, u] lets it: the box, and `delta`
    around the image, a share of the range of pixels. Tested is x + (1 + `epsilon`) (x_i - x), clipped to [l, u].

    The corrected variant moves first what carries farthest, weight times room. It walks by the corrected DeepFool and
    takes the normal that was seen at its end. A point that fools then keeps as few of its changed pixels as still fool:
    by bisection over their shares in the gradient there, twice. The sparsest point that was seen to fool comes back.

    The published variant is the paper's code, as Alvarez Cabrera 2020 uses it: first what weighs most, however little
    room it has; the normal is that at x_i + r; back comes the first point that fools, or the last. That code's default
    is 20 steps.
    """
    refuse(AttackError, refuses(classes=model.num_classes))
    published = variant == "published"
    looks = model.num_classes
    rules = Rules("l2", None, overshoot, _LEAST, looks, looks, True) if published else Rules("l2", None, overshoot)
    found, made, fooled = images.clone(), torch.zeros_like(labels), labels < 0
    rows, low, high = torch.arange(len(labels), device=labels.device), *_limits(model, images, delta)
    left, view = _Left(rows, labels, images, images, low, high), model
    for step in range(steps):
        points, limits = left.points, (left.low, left.high)
        end = walk(view, points, left.labels, rules, _WALK_STEPS)
        r = (end.points - points) / (1 + overshoot)
        normal = _ascent(view, points + r, left.labels) if published else end.gradients
        left.points = _crossed(points, sparsity * r, normal, limits, by_room=not published)
        tested = clip(torch.lerp(left.clean, left.points, 1 + epsilon), limits)
        with torch.no_grad():
            scores = view(tested)
        fools = differs(view, scores, left.labels) if published else view.fooled(scores, left.labels)
        fools = fools if published else view.confirmed(tested, left.labels, fools)
        there = end.fools & (end.steps == 0)  # x_i itself fools, as misclassified images do
        found[left.rows] = torch.where(rowwise(there, points), points, tested)
        fooled[left.rows], made[left.rows] = fools | there, torch.where(there, step, step + 1)
        going = torch.nonzero(~(fools | there))[:, 0]
        if len(going) == 0:
            break
        left, view = left.at(going), view.at(going)
    if not published:
        for _ in range(_THINNINGS):
            _thin(model, images, labels, found, torch.nonzero(fooled & (made > 0))[:, 0])
        found = settled(model, images, labels, found)
    return found, made


def refuses(*, classes: int) -> Iterator[str]:
    """A single class."""
    yield from lone_class("sparsefool", classes)


@dataclass
class _Left(PerSample):
    """The samples that are not fooled yet, which of the batch they are, and how far each of their values may go."""

    rows: Rows
    labels: Labels
    clean: Images
    points: Images
    low: Images
    high: Images


def _limits(model: CountedModel, images: Images, delta: float) -> Box:
    """How far each value may go: [l, u], each of the shape of the images."""
    pixels, (low, high) = model.pixels(images), model.box
    return torch.maximum(model.inputs(pixels - delta), low), torch.minimum(model.inputs(pixels + delta), high)


def _ascent(model: CountedModel, images: Images, labels: Labels) -> Tensor:
    """The gradient of the score that is to win less the one to be beaten."""
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(-model.margins(model(images), labels).sum(), images)
    return gradient


def _crossed(points: Images, ahead: Tensor, normal: Tensor, limits: Box, *, by_room: bool) -> Images:
    """The linear solver, algorithm 1: just beyond the plane through points + `ahead`.

    It moves the values by their weights (`by_room`: times their rooms), all of them to their limits except for the
    last. Sums over the sorted values say where it is across, so none is moved alone.
    """
    weights, start = normal.flatten(1), points.flatten(1)
    weights = weights / weights.square().sum(1, keepdim=True).sqrt().clamp(min=_FLAT)
    way = (weights * ahead.flatten(1)).sum(1, keepdim=True)
    low, high = (limit.flatten(1) for limit in limits)
    room = torch.where(weights > 0, high - start, start - low).clamp(min=0)
    weight = weights.abs()
    order = (weight * room if by_room else weight).argsort(dim=1, descending=True, stable=True)
    weight, room = weight.gather(1, order), room.gather(1, order)
    carried = weight * room
    left = way - (carried.cumsum(1) - carried)
    moves = torch.minimum(room, ((left + _BEYOND) / weight.clamp(min=_FLAT)).clamp(min=_LEAST)) * (left > 0)
    return (start + torch.zeros_like(start).scatter_(1, order, moves) * weights.sign()).view_as(points)


def _thin(model: CountedModel, images: Images, labels: Labels, found: Images, rows: Rows) -> None:
    """Give changed pixels of `found` back to the image, where it still fools without them.

    The changed pixels are ranked by their shares in what was gained, by the gradient at the found point. How many of
    the first are needed is found by bisection: each sample pays for its own number of pixels.
    """
    model, clean, labels = model.at(rows), images[rows], labels[rows]
    dense = found[rows]
    gradient = _ascent(model, dense, labels)
    changed = (dense != clean).any(1).flatten(1)
    share = (gradient * (dense - clean)).sum(1).flatten(1).masked_fill(~changed, -torch.inf)
    order = share.argsort(dim=1, descending=True, stable=True)
    place = order.argsort(dim=1).view_as(dense[:, :1])
    enough, few = changed.sum(1), torch.zeros_like(order[:, 0])
    while True:
        going = torch.nonzero(enough - few > 1)[:, 0]
        if len(going) == 0:
            return
        tried = (few[going] + enough[going]) // 2
        points = torch.where(place[going] < rowwise(tried, place), dense[going], clean[going])
        with torch.no_grad():
            view, own = model.at(going), labels[going]
            fools = view.confirmed(points, own, view.fooled(view(points), own))
        better = going[fools]
        found[rows[better]] = points[fools]
        enough[going], few[going] = torch.where(fools, tried, enough[going]), torch.where(fools, few[going], tried)
