"""DeepFool: step to the nearest class boundary of the linearised model, again and again."""

from collections.abc import Iterator
from typing import Literal

import torch

from tasks.attacks._class_boundary import settled
from tasks.attacks._deepfool_walk import FIRST_LOOKS, Crossing, Rules, walk
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.lone_class import lone_class
from tasks.metrics import rowwise
from tasks.parameters import Count, NonNegative
from tasks.refusals import refuse
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Steps

_SAFETY = 0.1
"""Share of the way beyond a boundary that is kept when a point is drawn back to it."""


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1511.04599",
    norms=("l2", "linf"),
    budget="minimal",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    stops="drawing",
)
def deepfool(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    steps: Count = 50,
    overshoot: NonNegative = 0.02,
    candidates: Count | None = None,
    min_step: NonNegative | None = None,
    clip: Literal["loop", "end"] = "loop",
    variant: Literal["corrected", "published"] = "corrected",
) -> tuple[Images, Steps]:
    """DeepFool, https://arxiv.org/abs/1511.04599: x + (1 + overshoot) r, r the sum of steps to the nearest boundary.

    Moosavi-Dezfooli et al. 2016, algorithm 2 and, for linf, section 3.3; on the scores, from the true label. A step
    is 1e-4 longer than the way to the boundary or, with `min_step`, at least that long, in the budget's norm and units.
    With clip: end, the box is kept only at the end. Targeted, the only boundary is that to the target.

    The corrected variant does not count what the box keeps from moving, goes a part of the way in its first two steps
    and at most a tenth of the box's diameter in any, and draws a fooling point back along its line to the image. At
    the image it takes the gradients of the `candidates` (none: 3) best-scoring other classes, then one a step: of the
    class whose boundary is nearest by the slopes last seen.

    The published variant takes those of `candidates` (none: all) at every step, and returns the last point whether it
    fools or not. As it stands it is the code of the softRmax thesis, Ingendaa 2024, which reports at most steps - 1
    steps, although it makes all; with min_step: 1e-4, clip: end, overshoot: 0.01 that of Alvarez Cabrera 2020.
    """
    refuse(AttackError, refuses(classes=model.num_classes))
    box = model.box if clip == "loop" else None
    if variant == "published":
        looks = candidates or model.num_classes
        end = walk(model, images, labels, Rules(budget.norm, box, overshoot, min_step, looks, looks, True), steps)
        return end.points.clamp(*model.box), end.steps.clamp(max=steps - 1)
    end = walk(model, images, labels, Rules(budget.norm, box, overshoot, min_step, candidates or FIRST_LOOKS), steps)
    found = _drawn_back(model, images, labels, end).clamp(*model.box)
    return settled(model, images, labels, found), end.steps


def refuses(*, classes: int) -> Iterator[str]:
    """A single class."""
    yield from lone_class("deepfool", classes)


def _drawn_back(model: CountedModel, images: Images, labels: Labels, end: Crossing) -> Images:
    """The points, and where they fool, points closer to the image on their line to it, if those fool too."""
    rows = torch.nonzero(end.fools & (end.steps > 0))[:, 0]
    if len(rows) == 0:
        return end.points
    points, clean = end.points[rows], images[rows]
    slope = ((points - clean) * end.gradients[rows]).flatten(1).sum(1)
    back = torch.where(slope > 0, (1 - _SAFETY) * end.gaps[rows] / slope, 0).clamp(max=0.5)
    nearer = torch.lerp(points, clean, rowwise(back, points))
    view, own = model.at(rows), labels[rows]
    with torch.no_grad():
        fools = view.confirmed(nearer, own, view.fooled(view(nearer), own))
    found = end.points.clone()
    found[rows] = torch.where(rowwise(fools, nearer), nearer, points)
    return found
