"""The fast adaptive boundary attack: project on the linearised class boundary, pulled towards the image."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.attacks._ball import random_direction
from tasks.attacks._class_boundary import believed, false_position, nearest, settled, straight
from tasks.attacks._fab_projection import step_to_hyperplane
from tasks.cases import Budget, Norm
from tasks.counted import CountedModel
from tasks.lone_class import lone_class
from tasks.metrics import Box, all_others, best_other, best_others, clip, length_of, rowwise, slack
from tasks.parameters import Count, Positive, Share
from tasks.per_sample import PerSample
from tasks.refusals import refuse
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Scores, Steps

_FINAL_STEPS = 3
"""Evaluations of the final search of each run."""
_RIVALS = 2
"""Classes that get a gradient after a run's first step: those whose boundary is nearest by the slopes last seen."""
_FOUND = ("points", "distance", "margin", "steps")
"""What a run changes of what it is given."""
_FAR = {"linf": 0.3, "l2": 1.0}
"""What random starts take for eps where there is none, as in the paper's code."""


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1907.02044",
    norms=("linf", "l2"),
    budget="minimal",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    stops="drawing",
)
def fab(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    steps: Count = 100,
    restarts: Count = 1,
    alpha_max: Share = 0.1,
    eta: Positive = 1.05,
    beta: Share = 0.9,
    target_classes: Count | None = None,
) -> tuple[Images, Steps]:
    """FAB, https://arxiv.org/abs/1907.02044: projections on the nearest linearised boundary, biased to the image.

    Croce and Hein 2020, algorithm 1, on the scores, with exact projections within the box. A step goes `eta` times as
    far as the boundary, up to the share `alpha_max` from the image instead of from the point; a point that fools is
    set back to the share `beta` of its distance. Every run ends with three steps of false position between the best
    point and the image. Returned is the fooling point with the smallest distance of all evaluated, else NaN.

    The boundary is the nearest of all other classes'. The first step of a run takes the gradients of all, further ones
    those of the two that are nearest by the slopes last seen (the paper's steps take all). With
    `target_classes` it is AutoAttack's FAB-T: the boundary with each of so many best-scoring other classes of the
    image in turn, for one backward a step. With a target it is that between the target and the best other class.
    `restarts` after the first begin at half the distance found, or half of eps if that is less. If the budget has an
    eps, a sample that is fooled within it takes part in no further run. Boundaries are aimed at a little beyond
    rounding, and the search ends a ten-thousandth of the distance beyond them.
    """
    refuse(AttackError, refuses(classes=model.num_classes))
    with torch.no_grad():
        scores = model(images)
    best = _Best(model, images, labels, scores, budget.norm)
    plan = _Plan(budget.norm, model.box if budget.box else None, steps, alpha_max, eta, beta)
    aims: list[Labels | None] = [None]
    if target_classes is not None and model.targets is None:
        aims = list(best_others(scores, labels, target_classes).T)
    for number in range(len(aims) * restarts):
        near_enough = budget.eps if number > 0 and budget.eps is not None else 0.0
        rows = torch.nonzero(best.distance > near_enough)[:, 0]
        if len(rows) == 0:
            break
        aim, part = aims[number // restarts], best.at(rows)
        start = part.images.clone()
        if number % restarts > 0:
            start = _random_point(part, budget, streams.at(rows), number, plan)
        _run(model.at(rows), part, start, None if aim is None else aim[rows], plan)
        best.put(rows, part, *_FOUND)
    # Of a model that draws, the last point of a run is one to settle, where none could be believed.
    found = best.distance.isfinite() | model.is_wavering
    points = torch.where(rowwise(found, images), best.points, torch.nan)
    return settled(model, images, labels, points), best.steps


def refuses(*, classes: int) -> Iterator[str]:
    """A single class."""
    yield from lone_class("fab", classes)


@dataclass(frozen=True)
class _Plan:
    """What every run of one attack has in common. `box` is None where there is none."""

    norm: Norm
    box: Box | None
    steps: int
    alpha_max: float
    eta: float
    beta: float

    def clip(self, points: Images) -> Images:
        """The points, in the box."""
        return points if self.box is None else clip(points, self.box)


class _Best(PerSample):
    """Per sample: the nearest fooling point evaluated, its distance and its margin, and the image's own margin.

    As long as there is none, the point is the image and the distance infinite.
    """

    def __init__(self, model: CountedModel, images: Images, labels: Labels, scores: Scores, norm: Norm) -> None:
        self.images, self.labels, self.norm = images, labels, norm
        self.clean_margin, fools = model.standing(scores, labels)
        reached = model.confirmed(images, labels, fools)
        self.margin = self.clean_margin.clone()
        self.distance = torch.full_like(self.margin, torch.inf).masked_fill_(reached, 0.0)
        self.points = images.clone()
        self.steps = torch.zeros_like(labels)

    def offer(self, model: CountedModel, points: Images) -> tuple[Tensor, Tensor]:
        """Evaluate points and take those that fool from nearer. Their margins, and which fool."""
        with torch.no_grad():
            margin, fools = model.standing(model(points), self.labels)
        distance = _size(points - self.images, self.norm)
        fools = believed(model, points, self.labels, fools, distance < self.distance)
        nearer = fools & (distance < self.distance)
        # With weights of 0 and 1 this is exact, and much faster than a choice between two tensors.
        self.points.lerp_(points, rowwise(nearer.to(points.dtype), points))
        self.distance = torch.where(nearer, distance, self.distance)
        self.margin = torch.where(nearer, margin, self.margin)
        return margin, fools


def _run(model: CountedModel, best: _Best, points: Images, aim: Labels | None, plan: _Plan) -> None:
    """All steps of some samples, and the final search, from `points`; what is found goes to `best`."""
    images, slopes = best.images, None
    for _ in range(plan.steps):
        offset, normal, slopes = _boundary(model, points, best.labels, aim, slopes, plan.norm)
        from_image = offset - ((images - points) * normal).flatten(1).sum(1)
        here = step_to_hyperplane(points, normal, offset, plan.box, plan.norm)
        there = step_to_hyperplane(images, normal, from_image, plan.box, plan.norm)
        lengths = _size(here, plan.norm), _size(there, plan.norm)
        tiny = torch.finfo(points.dtype).tiny
        alpha = (lengths[0] / (lengths[0] + lengths[1]).clamp(min=tiny)).clamp(max=plan.alpha_max)
        ahead = torch.add(points, here, alpha=plan.eta)
        points = plan.clip(ahead.lerp_(there.mul_(plan.eta).add_(images), rowwise(alpha, ahead)))
        _, fools = best.offer(model, points)
        points = points.lerp(images, rowwise((1 - plan.beta) * fools.to(points.dtype), points))
    best.steps += plan.steps
    if model.is_wavering:
        best.points = torch.where(rowwise(best.distance.isfinite(), points), best.points, points)
    _search(model, best, plan)


def _boundary(
    model: CountedModel, points: Images, labels: Labels, aim: Labels | None, slopes: Tensor | None, norm: Norm
) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest linearised boundary: what a step's product with the normal is to be, (n,), and the normal.

    And the slopes of all boundaries as last seen, (n, boundaries); without such, all of them are looked at.
    """
    with torch.enable_grad():
        points = points.detach().requires_grad_()
        scores = model(points)
    seen = scores.detach()
    ahead, behind = _sides(model, seen, labels, aim)
    due = 2 * slack(seen)[:, None] - (seen.gather(1, ahead) - seen.gather(1, behind[:, None]))
    slopes, looks = (torch.ones_like(due), due.shape[1]) if slopes is None else (slopes, min(_RIVALS, due.shape[1]))
    columns = straight(due, slopes).topk(looks, dim=1, largest=False).indices
    gaps = due.gather(1, columns)
    found = nearest(points, scores, ahead.gather(1, columns), behind, gaps, lambda normal: _dual_size(normal, norm))
    return found.gaps, found.gradients, slopes.scatter(1, columns, found.all_slopes)


def _sides(model: CountedModel, scores: Scores, labels: Labels, aim: Labels | None) -> tuple[Labels, Labels]:
    """The classes to rise, (n, k), one of which is enough, and the one to fall, (n,)."""
    if model.targets is not None:
        return model.targets[:, None], best_other(scores, model.targets)
    return all_others(labels, scores.shape[1]) if aim is None else aim[:, None], labels


def _search(model: CountedModel, best: _Best, plan: _Plan) -> None:
    """Draw the best points back along their lines to the images: false position, a little on the far side."""
    rows = torch.nonzero(best.distance.isfinite())[:, 0]
    if len(rows) == 0:
        return
    part, view = best.at(rows), model.at(rows)
    ends = part.points.clone()

    def look(share: Tensor) -> tuple[Tensor, Tensor]:
        return part.offer(view, plan.clip(part.images.lerp(ends, rowwise(share, ends))))

    false_position(look, part.clean_margin, part.margin, _FINAL_STEPS)
    best.put(rows, part, *_FOUND)


def _random_point(best: _Best, budget: Budget, streams: Streams, number: int, plan: _Plan) -> Images:
    """A point in a random direction from each image, at half the distance found or half of eps."""
    drawn = random_direction(best.images, plan.norm, streams, number)
    distance = best.distance.clamp(max=_FAR[plan.norm] if budget.eps is None else budget.eps)
    size = _size(drawn, plan.norm).clamp_(min=torch.finfo(drawn.dtype).tiny)
    return plan.clip(torch.addcmul(best.images, drawn, rowwise(distance / (2 * size), drawn)))


def _size(delta: Tensor, norm: Norm) -> Tensor:
    """The linf or l2 norm, (n,)."""
    flat = delta.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else torch.linalg.vector_norm(flat, dim=1)


def _dual_size(gradient: Tensor, norm: Norm) -> Tensor:
    """The l1 norm for linf, the l2 norm for l2, (n,), never 0."""
    if norm == "l2":
        return length_of(gradient)
    return gradient.flatten(1).abs().sum(1).clamp_(min=torch.finfo(gradient.dtype).tiny)
