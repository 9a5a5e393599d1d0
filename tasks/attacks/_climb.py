"""The climb that the attacks of PGD's family make: steps up a gradient, and the best of the points on the way.

Knows nothing of where a climb starts, or of how long its steps are.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tasks.ascent import Gradient
from tasks.attacks._ball import Ball
from tasks.counted import CLOSE_LOOKS, CountedModel
from tasks.metrics import rowwise
from tasks.per_sample import PerSample
from tasks.types import Images, Labels, Rows, Scores, Steps

Stop = Literal["success", "never"]
"""Whether a sample leaves at the point at which it is finished, or makes all its steps."""


@dataclass
class Climb(PerSample):
    """Per sample: the best point evaluated, where that stands, and the updates made.

    `standing` orders points: negative where the aim is reached (-inf where the sample is finished), else the margin,
    which rounding may have left a little below zero, as zero or more.
    """

    images: Images
    standing: Tensor
    steps: Steps

    def offer(self, images: Images, standing: Tensor) -> None:
        """Take the points offered for the first len(images) samples where they stand better; in place."""
        best = self.standing[: len(images)]
        better = (standing < best).to(images.dtype)
        # With weights of 0 and 1 this is exact, and much faster than a choice between two tensors.
        self.images[: len(images)].lerp_(images, rowwise(better, images))
        torch.minimum(standing, best, out=best)

    def merge(self, rows: Rows, part: "Climb") -> None:
        """Offer the result of a further climb of some samples, and add its steps."""
        whole = self.at(rows)
        whole.steps += part.steps
        whole.offer(part.images, part.standing)
        self.put(rows, whole)


@dataclass
class Walk(PerSample):
    """The samples that still walk: which of the batch they are, where they stand, and the gradient there."""

    rows: Rows
    labels: Labels
    points: Images
    gradient: Tensor

    @classmethod
    def begin(cls, start: Images, labels: Labels) -> "Walk":
        """That of a whole batch; the tensors are its own."""
        return cls(
            torch.arange(len(labels), device=labels.device), labels.clone(), start.clone(), torch.empty_like(start)
        )


def climb(
    model: CountedModel,
    start: Images,
    labels: Labels,
    ball: Ball,
    *,
    length: float,
    steps: int,
    stop: Stop,
    of: Gradient = "log_odds",
) -> Climb:
    """Evaluate `start`, then make and evaluate `steps` steps of `length`. Uses the ball up: its rows end in any order.

    With stop: success the point at which a sample is finished is its result, and the sample leaves the batch.
    """
    whole, walk = model, Walk.begin(start, labels)
    order, best = walk.rows, unclimbed(start)  # rows are swapped in place, so this keeps those of samples that leave
    for step in range(steps + 1):
        walk.gradient, scores = _look(model, walk.points, walk.labels, of if step < steps else None)
        best.offer(walk.points, standing(model, walk.points, scores, walk.labels, stop))
        if step == steps:
            break
        going = best.standing[: len(walk.rows)] > -torch.inf
        if stop == "success" and step % model.sync_every == 0:
            gone = walk.release(going, [*ball.held, best.images, best.standing, best.steps])
            if len(walk.rows) == 0:
                break
            if len(gone.rows) > 0:
                model, going = whole.at(walk.rows), torch.ones_like(walk.rows, dtype=torch.bool)
        best.steps[: len(walk.rows)] += going if stop == "success" else 1
        ball.step(walk.points, walk.gradient, length)
    if model.is_wavering:
        _compare(model, walk, best)
    return best.at(order.argsort())


def _compare(model: CountedModel, walk: Walk, best: Climb) -> None:
    """Of a model that draws: the last point is better than the luckiest, but where independent looks say otherwise."""
    rows = torch.nonzero(best.standing[: len(walk.rows)] > -torch.inf)[:, 0]
    if len(rows) == 0:
        return
    view, labels = model.at(rows), walk.labels[rows]

    def looked_at(points: Images) -> Tensor:
        return ordered(view, view.looks(points, labels, CLOSE_LOOKS).scores, labels)[0]

    luckiest, last = best.at(rows), walk.points[rows]
    found = Climb(last, looked_at(last), luckiest.steps)
    found.offer(luckiest.images, looked_at(luckiest.images))
    best.put(rows, found)


def ascend(
    model: CountedModel, start: Images, labels: Labels, ball: Ball, *, length: float, steps: int, of: Gradient
) -> tuple[Images, Steps]:
    """The last of `steps` steps of `length` from `start`, and how many there were of each sample."""
    points = start.clone()
    for _ in range(steps):
        gradient, _ = model.ascent(points, labels, of)
        ball.step(points, gradient.contiguous(), length)
    return points, torch.full_like(labels, steps)


def unclimbed(images: Images) -> Climb:
    """What every climb begins with: the images, which anything evaluated is better than, and no steps."""
    standing = torch.full_like(images[:, 0, 0, 0], torch.inf)
    return Climb(images.clone(), standing, torch.zeros_like(standing, dtype=torch.int64))


def standing(model: CountedModel, points: Images, scores: Scores, labels: Labels, stop: Stop) -> Tensor:
    """As in `Climb`, where points stand by the scores of a look."""
    found, reached = ordered(model, scores, labels)
    return found.masked_fill(model.finished(points, labels, reached), -torch.inf) if stop == "success" else found


def ordered(model: CountedModel, scores: Scores, labels: Labels) -> tuple[Tensor, Tensor]:
    """As in `Climb`, but that nobody is finished; and whether the aim is reached, by more than rounding."""
    margin, reached = model.standing(scores, labels)
    return torch.where(reached, margin, margin.clamp(min=0)), reached


def unfinished(model: CountedModel, standing: Tensor) -> Rows:
    """The samples that further climbs are for: where one look settles all, those that no point has fooled."""
    return torch.nonzero(standing >= 0 if model.is_final else standing > -torch.inf)[:, 0]


def _look(model: CountedModel, points: Images, labels: Labels, of: Gradient | None) -> tuple[Tensor, Scores]:
    """The gradient (without any asked for, which is where no step is ahead, just the points) and the scores."""
    if of:
        gradient, scores = model.ascent(points, labels, of)
        return gradient.contiguous(), scores
    with torch.no_grad():
        return points, model(points)
