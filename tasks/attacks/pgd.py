"""Projected gradient descent, and the climb that every such attack makes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tasks.ascent import Gradient
from tasks.cases import Budget, Norm
from tasks.counted import CLOSE_LOOKS, CountedModel
from tasks.metrics import Box, clip, length_of, radius, rowwise
from tasks.parameters import Count, Positive
from tasks.per_sample import PerSample
from tasks.refusals import refuse
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Rows, Scores, Steps

Stop = Literal["success", "never"]


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1706.06083",
    norms=("linf", "l2"),
    budget="eps",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    stops=True,
    added={"returns": "best"},
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
    gradient: Literal["log_odds", "head"] = "log_odds",
    stop: Literal["success", "never"] = "success",
    returns: Literal["best", "last"] = "best",
) -> tuple[Images, Steps]:
    """PGD, https://arxiv.org/abs/1706.06083: steps of `alpha` up the head's loss, projected on ball and box.

    Madry et al. 2018, section 2.1. `alpha` is in units of eps's space; none means 2.5 eps / steps. `restarts`
    are made from new random points, for samples that are not finished yet; without `random_start` there is one climb.
    With targets the steps go up the target's log-likelihood. A sample is finished at the first point that reaches the
    aim, as far as the model lets it: see `tasks.counted`. Of any other, and with stop: never, the evaluated point with
    the smallest margin is returned, on a model that draws numbers that or the last one, as independent looks say; with
    returns: last, as in most studies, the last one, which nobody has looked at, after all steps. `gradient` is as in
    FGSM: that of the log-odds does not vanish where the head is saturated, the head's own does, as in most published
    work.
    """
    refuse(AttackError, refuses(random_start=random_start, restarts=restarts, returns=returns))
    length = 2.5 * radius(budget) / steps if alpha is None else alpha

    def once(model: CountedModel, clean: Images, labels: Labels, streams: Streams, restart: int) -> Climb:
        ball = Ball(clean, budget, model.box)
        start = ball.clip(random_point(clean, budget, streams, restart)) if random_start else clean
        return climb(model, start, labels, ball, length=length, steps=steps, stop=stop, of=gradient)

    if returns == "last":
        ball = Ball(images, budget, model.box)
        start = ball.clip(random_point(images, budget, streams, 0)) if random_start else images.clone()
        return ascend(model, start, labels, ball, length=length, steps=steps, of=gradient)
    best = once(model, images, labels, streams, 0)
    for restart in range(1, restarts if random_start else 1):
        rows = unfinished(model, best.standing)
        if len(rows) == 0:
            break
        best.merge(rows, once(model.at(rows), images[rows], labels[rows], streams.at(rows), restart))
    return best.images, best.steps


def refuses(*, random_start: bool, restarts: int, returns: str) -> Iterator[str]:
    """Several restarts of which the last point is to count."""
    if returns == "last" and restarts > 1 and random_start:
        yield "pgd: returns: last is the last point of one climb, so there is nothing to choose from: give restarts: 1"


class Ball:
    """Where images may move: in the budget's ball around each, and in the box. Norms linf and l2, else ValueError.

    Like `tasks.metrics.project`, but in place and with the sums that never change made once.
    """

    def __init__(self, clean: Images, budget: Budget, box: Box) -> None:
        self.eps, self.norm, self.box = radius(budget), budget.norm, box
        if self.norm == "linf":
            self.held = [torch.maximum(clean - self.eps, box[0]), torch.minimum(clean + self.eps, box[1])]
        elif self.norm == "l2":
            self.held = [clean.clone()]
        else:
            raise ValueError(f"no steps in the {self.norm} ball")
        self._work = torch.empty_like(clean)

    def step(self, points: Images, gradient: Tensor, length: float) -> Images:
        """Move the points of the first len(points) samples by `length` along the gradient, and clip them; in place."""
        if self.norm == "linf":
            work = torch.sign(gradient, out=self._work[: len(points)])
            return self.clip(points.add_(work, alpha=length))
        return self.clip(points.addcmul_(gradient, rowwise(length / length_of(gradient), gradient)))

    def clip(self, points: Images) -> Images:
        """The nearest points in the ball, then in the box: in place, for the first len(points) samples."""
        if self.norm == "linf":
            return points.clamp_(*(bound[: len(points)] for bound in self.held))
        clean = self.held[0][: len(points)]
        delta = torch.sub(points, clean, out=self._work[: len(points)])
        norm = torch.linalg.vector_norm(delta.flatten(1), dim=1)
        torch.addcmul(clean, delta, rowwise((self.eps / norm).clamp_(max=1.0), delta), out=points)
        return clip(points, self.box, out=points)


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
    """The last of `steps` steps of `length` from `start`, which is used up, and how many there were of each sample."""
    for _ in range(steps):
        gradient, _ = model.ascent(start, labels, of)
        ball.step(start, gradient.contiguous(), length)
    return start, torch.full_like(labels, steps)


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


def random_point(clean: Images, budget: Budget, streams: Streams, restart: int) -> Images:
    """A point drawn uniformly from the ball around each image."""
    eps, direction = radius(budget), random_direction(clean, budget.norm, streams, restart)
    if budget.norm == "linf":
        return direction.mul_(eps).add_(clean)
    share = streams.uniform("start radius", restart, (), clean.dtype) ** (1 / clean[0].numel())
    return direction.mul_(rowwise(eps * share / length_of(direction), clean)).add_(clean)


def random_direction(like: Images, norm: Norm, streams: Streams, restart: int) -> Tensor:
    """A direction for each image: uniform numbers in [-1, 1) for linf, normal ones for l2. Of no certain length."""
    shape = tuple(like.shape[1:])
    if norm == "linf":
        return streams.uniform("start", restart, shape, like.dtype).mul_(2).sub_(1)
    return streams.normal("start", restart, shape, like.dtype)
