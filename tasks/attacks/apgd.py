"""Auto-PGD: projected gradient ascent with momentum that chooses its own step size."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tasks.attacks._ball import Ball, random_direction
from tasks.attacks._climb import Climb, Stop, ordered, unclimbed, unfinished
from tasks.attacks._dlr import Objective, dlr, dlr_towards, log_odds
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import best_others, length_of, radius, rowwise
from tasks.parameters import Count, Share
from tasks.per_sample import PerSample
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Scores, Steps

Loss = Literal["ce", "dlr", "targeted_dlr"]

_INERTIA = 0.25
"""The share of an update that comes from the one before: the paper's 1 - alpha."""


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/2003.01690",
    norms=("linf", "l2"),
    budget="eps",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    stops=True,
)
def apgd(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    loss: Literal["ce", "dlr", "targeted_dlr"] = "ce",
    steps: Count = 100,
    restarts: Count = 1,
    rho: Share = 0.75,
    target_classes: Count = 9,
    stop: Literal["success", "never"] = "success",
    variant: Literal["corrected", "published"] = "corrected",
) -> tuple[Images, Steps]:
    """APGD, https://arxiv.org/abs/2003.01690: steps of 2 eps with momentum, halved from the best point again and again.

    Croce and Hein 2020, algorithm 1, from a random start at distance eps. `ce` is the head's own loss, climbed as
    log-odds, which do not saturate; `dlr` the difference of logits ratio, with targets the targeted one.
    `targeted_dlr` without targets is AutoAttack's APGD-T: it aims at the `target_classes` best-scoring other classes
    of the image in turn. `restarts` and further classes are for samples that are not finished yet, as in PGD. Where the
    scores of a ratio tie, or classes are too few for it (under 3, targeted 4), it is the plain margin. Returned is the
    point at which a sample is finished, else (or with stop: never) the evaluated point with the highest loss, those
    that reach the aim before all others; of several restarts and classes, that with the smallest margin.

    At each checkpoint a sample's step size is halved where less than the share `rho` of the updates since the last one
    raised the loss, and, in the published variant, where neither size nor best loss have changed since. The corrected
    one halves at every second checkpoint at the least, and drops the momentum where a sample goes back to its best
    point: of the points it finds, more fool, above all within few steps.
    """
    plan = _Plan(loss, steps, rho, stop, published=variant == "published")
    best = unclimbed(images)
    aims: list[Labels | None] = [None]
    if loss == "targeted_dlr" and model.targets is None:
        with torch.no_grad():
            scores = model.looks(images, labels).scores
        best.standing = ordered(model, scores, labels)[0]
        aims = list(best_others(scores, labels, target_classes).T)
    for number, aim in enumerate(aim for aim in aims for _ in range(restarts)):
        rows = unfinished(model, best.standing)
        if len(rows) == 0:
            break
        clean, ball = images[rows], Ball(images[rows], budget, model.box)
        start = ball.clip(_random_point(clean, budget, streams.at(rows), number))
        walk = _Walk(start, labels[rows], None if aim is None else aim[rows], 2 * radius(budget))
        best.merge(rows, _climb(model.at(rows), walk, ball, plan))
    return best.images, best.steps


@dataclass(frozen=True)
class _Plan:
    """What every climb of one attack has in common: see `apgd`."""

    loss: Loss
    steps: int
    rho: float
    stop: Stop
    published: bool


def _climb(model: CountedModel, walk: "_Walk", ball: Ball, plan: _Plan) -> Climb:
    """Evaluate the start, then make and evaluate the steps. Uses walk and ball up."""
    whole, checked, checkpoints, found = model, 0, _checkpoints(plan.steps), unclimbed(walk.points)
    for step in range(plan.steps + 1):
        gradient, scores, seen = _look(model, walk, plan.loss, ahead=step < plan.steps)
        walk.arrive(*_weighed(model, walk, plan, scores, seen), gradient)
        if step == plan.steps:
            break
        going = walk.standing > -torch.inf
        if plan.stop == "success" and step % model.sync_every == 0 and not bool(going.all()):
            gone = walk.release(going, ball.held)
            found.put(gone.rows, gone.best())
            if len(walk.rows) == 0:
                break
            model = whole.at(walk.rows)
        if step in checkpoints:
            walk.check(plan.rho * (step - checked), published=plan.published)
            checked = step
        walk.steps += walk.standing > -torch.inf
        walk.move(ball, first=step == 0)
    found.put(walk.rows, walk.best())
    return found


def _checkpoints(steps: int) -> set[int]:
    """After which steps the step sizes are looked at: the paper's w_j, rounded as in its code."""
    ahead, least, fewer = (max(share * steps // 100, 1) for share in (22, 6, 3))
    found, step = set(), ahead
    while step < steps:
        found.add(step)
        ahead = max(ahead - fewer, least)
        step += ahead
    return found


def _look(model: CountedModel, walk: "_Walk", loss: Loss, *, ahead: bool) -> tuple[Tensor | None, Scores, Objective]:
    """At the points: the gradient of the objective (none unless there is a step ahead), the scores, the objective."""
    with torch.set_grad_enabled(ahead):
        points = walk.points.detach().requires_grad_(ahead)
        scores = model(points)
    seen = _objective(model, scores.detach(), walk, loss)
    gradient = torch.autograd.grad(scores, points, seen.direction)[0] if ahead else None
    return gradient, scores.detach(), seen


def _objective(model: CountedModel, scores: Scores, walk: "_Walk", loss: Loss) -> Objective:
    if loss == "ce":
        return log_odds(model, scores, walk.labels)
    if loss == "dlr" or model.targets is not None:
        return dlr(model, scores, walk.labels)
    return dlr_towards(scores, walk.labels, walk.aim)


def _weighed(
    model: CountedModel, walk: "_Walk", plan: _Plan, scores: Scores, seen: Objective
) -> tuple[Objective, Tensor]:
    """What was seen at the points, and how they stand, as in `Climb`: see `standing` of the climb."""
    found, done = ordered(model, scores, walk.labels)
    leaving = plan.stop == "success" and model.may_finish
    if model.is_wavering:
        rows, done = torch.nonzero(walk.rises_to(seen, found))[:, 0], torch.zeros_like(done)
        if len(rows) > 0:
            view, own = model.at(rows), walk.labels[rows]
            scores = scores.clone()
            scores[rows], share = view.looks(walk.points[rows], own)
            done[rows] = view.finished(walk.points[rows], own, (share == 1) & leaving)
            found, _ = ordered(model, scores, walk.labels)
            seen = _objective(model, scores, walk, plan.loss)
    return seen, found.masked_fill(done, -torch.inf) if leaving else found


def _random_point(clean: Images, budget: Budget, streams: Streams, number: int) -> Images:
    """A point in a random direction from each image, at distance eps."""
    drawn = random_direction(clean, budget.norm, streams, number)
    return torch.addcmul(clean, drawn, rowwise(radius(budget) / length_of(drawn, budget.norm), drawn))


class _Walk(PerSample):
    """The samples still climbing, one row each: where they are, where they were before, and their best points.

    `aim` is the class that a targeted ratio lifts, for any other loss of no use.
    """

    def __init__(self, start: Images, labels: Labels, aim: Labels | None, size: float) -> None:
        nothing = start.new_zeros(len(start), dtype=torch.float64)
        self.rows = torch.arange(len(labels), device=labels.device)
        self.labels, self.aim = labels, (labels if aim is None else aim).clone()
        self.points, self.before, self.spare = start, torch.empty_like(start), torch.empty_like(start)
        self.gradient, self.standing = torch.zeros_like(start), torch.full_like(start[:, 0, 0, 0], torch.inf)
        self.peaks, self.peak_gradient = start.clone(), torch.zeros_like(start)
        self.sizes, self.steps = torch.full_like(self.standing, size), torch.zeros_like(labels)
        self.value, self.peak, self.last_peak = nothing + torch.inf, nothing - torch.inf, nothing - torch.inf
        self.rises, self.halved = nothing, torch.zeros_like(labels, dtype=torch.bool)

    def rises_to(self, seen: Objective, standing: Tensor) -> Tensor:
        """Whether points stand before the peaks: they reach the aim and no peak has, or else their loss is higher."""
        reached, higher = standing < 0, seen.value > self.peak + seen.rounding
        better = torch.where(self.standing < 0, reached & higher, reached | higher)
        return better & (self.standing > -torch.inf)

    def arrive(self, seen: Objective, standing: Tensor, gradient: Tensor | None) -> None:
        """Note what was seen at the points, and make them the peaks where they are better."""
        better = self.rises_to(seen, standing)
        self.rises = self.rises + (seen.value > self.value + seen.rounding)
        self.value, self.peak = seen.value, torch.where(better, seen.value, self.peak)
        self.standing = torch.where(better, standing, self.standing)
        weight = rowwise(better.to(self.points.dtype), self.points)
        self.peaks.lerp_(self.points, weight)  # exact for weights 0 and 1, and much faster than `where`
        if gradient is not None:
            self.gradient = gradient.contiguous()
            self.peak_gradient.lerp_(self.gradient, weight)

    def check(self, rises_due: float, *, published: bool) -> None:
        """Halve the step sizes of those that do not get on, and put them back to their peaks."""
        stuck = self.peak <= self.last_peak if published else torch.ones_like(self.halved)
        self.halved = (stuck & ~self.halved) | (self.rises < rises_due)
        self.sizes = torch.where(self.halved, self.sizes / 2, self.sizes)
        self.last_peak, self.value = self.peak.clone(), torch.where(self.halved, self.peak, self.value)
        self.rises.zero_()
        rows = torch.nonzero(self.halved)[:, 0]
        self.points[rows], self.gradient[rows] = self.peaks[rows], self.peak_gradient[rows]
        if not published:
            self.before[rows] = self.points[rows]

    def best(self) -> Climb:
        """What the climb of these samples comes to."""
        return Climb(self.peaks, self.standing, self.steps)

    def move(self, ball: Ball, *, first: bool) -> None:
        """The next points: a step of each sample's size up the gradient, three quarters of it, and inertia."""
        if ball.norm == "linf":
            ahead = torch.sign(self.gradient, out=self.spare)
            ahead = torch.addcmul(self.points, ahead, rowwise(self.sizes, ahead), out=ahead)
        else:
            lengths = rowwise(self.sizes / length_of(self.gradient), self.points)
            ahead = torch.addcmul(self.points, self.gradient, lengths, out=self.spare)
        ball.clip(ahead)
        if not first:
            # x + 3/4 (z - x) + 1/4 (x - before) = 3/4 z + 1/4 (2 x - before), with z ahead.
            ahead.lerp_(self.before.lerp_(self.points, 2.0), _INERTIA)
            ball.clip(ahead)
        self.points, self.before, self.spare = ahead, self.points, self.before
