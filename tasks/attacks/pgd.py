"""Projected gradient descent, and the climb that every such attack makes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tasks.config import Budget
from tasks.metrics import CountedModel, fooled, margins, project, radius, rowwise
from tasks.parameters import Count, Positive
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Rows, Scores, Steps

Stop = Literal["success", "never"]
Move = Callable[[Images, Tensor, Images], Images]
"""(images, gradient, clean images) -> the next images, within box and budget."""


@dataclass
class Climb:
    """Per sample: the best point evaluated, its margin, whether it fools, and the updates made."""

    images: Images
    margins: Tensor
    fools: Tensor
    steps: Steps

    def offer(self, images: Images, margins: Tensor, fools: Tensor) -> None:
        """Take the offered points, one for each sample, where they are better than what is there."""
        better = (margins < self.margins) & (fools | ~self.fools) | (fools & ~self.fools)
        self.images = torch.where(rowwise(better, images), images, self.images)
        self.margins = torch.where(better, margins, self.margins)
        self.fools = self.fools | fools

    def at(self, rows: Rows) -> "Climb":
        """The climb of some samples."""
        return Climb(self.images[rows], self.margins[rows], self.fools[rows], self.steps[rows])

    def put(self, rows: Rows, part: "Climb") -> None:
        """Write the climb of some samples back."""
        self.images[rows], self.margins[rows] = part.images, part.margins
        self.fools[rows], self.steps[rows] = part.fools, part.steps


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1706.06083",
    norms=("linf", "l2"),
    budget="eps",
    knowledge="white-box",
)
def pgd(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    steps: Count = 40,
    alpha: Positive | None = None,
    random_start: bool = True,
    restarts: Count = 1,
    stop: Literal["success", "never"] = "success",
) -> tuple[Images, Steps]:
    """PGD, https://arxiv.org/abs/1706.06083: steps of `alpha` up the head's loss, projected on ball and box.

    Madry et al. 2018, section 2.1. `alpha` is in units of eps's space; none means 2.5 eps / steps. `restarts`
    are made from new random points, for samples that no climb so far has fooled; without `random_start` there
    is one climb. Returned is the first point that fools, else (or with stop: never) the evaluated point with the
    smallest margin.
    """
    length = 2.5 * radius(budget) / steps if alpha is None else alpha

    def move(points: Images, gradient: Tensor, clean: Images) -> Images:
        return project(points + length * _unit(gradient, budget), clean, budget, model.box)

    rows = torch.arange(len(labels), device=labels.device)
    best = empty_climb(images)
    for restart in range(restarts if random_start else 1):
        clean = images[rows]
        start = _random_point(clean, budget, streams.at(rows), restart) if random_start else clean
        start = project(start, clean, budget, model.box)
        found = climb(model.at(rows), start, clean, labels[rows], move, steps=steps, stop=stop)
        part = best.at(rows)
        part.offer(found.images, found.margins, found.fools)
        part.steps = part.steps + found.steps
        best.put(rows, part)
        rows = torch.nonzero(~best.fools)[:, 0]
        if len(rows) == 0:
            break
    return best.images, best.steps


def empty_climb(images: Images) -> Climb:
    """A climb that has evaluated nothing yet."""
    margin = torch.full((len(images),), torch.inf, dtype=images.dtype, device=images.device)
    return Climb(images.clone(), margin, margin < 0, torch.zeros_like(margin, dtype=torch.int64))


def climb(
    model: CountedModel, start: Images, clean: Images, labels: Labels, move: Move, *, steps: int, stop: Stop
) -> Climb:
    """Evaluate `start`, then make and evaluate `steps` moves.

    With stop: success a sample's first point that fools is its result, and the sample leaves the batch.
    """
    total, best, points = empty_climb(start), empty_climb(start), start
    rows = torch.arange(len(labels), device=labels.device)
    for step in range(steps + 1):
        gradient, scores = _look(model, points, labels, ahead=step < steps)
        margin, fools = margins(scores, labels), fooled(scores, labels)
        if stop == "success":  # the first point that fools is the result, whatever follows until the sample leaves
            margin, fools = margin.masked_fill(best.fools, torch.inf), fools & ~best.fools
        best.offer(points, margin, fools)
        if stop == "success" and step % model.sync_every == 0:
            going = torch.nonzero(~best.fools)[:, 0]
            if len(going) < len(labels):
                total.put(rows, best)
                rows, best, model = rows[going], best.at(going), model.at(going)
                points, gradient, clean, labels = points[going], gradient[going], clean[going], labels[going]
        if step == steps or len(labels) == 0:
            break
        points = move(points, gradient, clean)
        best.steps = best.steps + (1 if stop == "never" else (~best.fools).long())
    total.put(rows, best)
    return total


def _look(model: CountedModel, points: Images, labels: Labels, *, ahead: bool) -> tuple[Tensor, Scores]:
    """The gradient (of no use unless there is a move ahead: then just the points) and the scores."""
    if ahead:
        return model.ascent(points, labels)
    with torch.no_grad():
        return points, model(points)


def _random_point(clean: Images, budget: Budget, streams: Streams, restart: int) -> Images:
    """A point drawn uniformly from the ball around each image."""
    eps, shape = radius(budget), tuple(clean.shape[1:])
    if budget.norm == "linf":
        return clean + eps * (2 * streams.uniform("start", restart, shape, clean.dtype) - 1)
    direction = streams.normal("start", restart, shape, clean.dtype)
    share = streams.uniform("start radius", restart, (), clean.dtype) ** (1 / clean[0].numel())
    return clean + _unit(direction, budget) * rowwise(eps * share, clean)


def _unit(gradient: Tensor, budget: Budget) -> Tensor:
    if budget.norm == "linf":
        return gradient.sign()
    norm = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return gradient / rowwise(norm.clamp(min=torch.finfo(norm.dtype).tiny), gradient)
