"""Carlini and Wagner's attack: Adam on distance plus c times the margin, and a search for the c that gets closest."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from tasks.attacks._class_boundary import believed, settled
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.lone_class import lone_class
from tasks.metrics import Box, best_other, clip, gap_gradient, rowwise
from tasks.parameters import Count, NonNegative, Positive
from tasks.per_sample import PerSample
from tasks.refusals import refuse
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Rows, Scores, Steps

_STUDY_C = 1e-4
_STUDY_CONFIDENCE = 0.01
"""The two constants that the study of stochastic winner-takes-all networks printed."""

_BETA_1, _BETA_2, _ADAM_EPS = 0.9, 0.999, 1e-8
_INWARD = 1 - 1e-6
"""What images are scaled by before the inverse of tanh, which is infinite at the ends of the box."""
_STALLED = 0.99
"""A search ends early when a tenth of its steps has not brought its lowest loss below this share of what it was."""
_LEAST_LOOK = 10
"""Updates between two such looks, at the least."""
_SLOWER = 0.5
"""What a success multiplies a sample's rate by: the next search starts where it ended, and has less far to go."""
_CLOSE = 0.05
"""A c that is known up to this share of itself is searched no further."""


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1608.04644",
    norms=("l2",),
    budget="minimal",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    stops="drawing",
)
def cw(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    search_steps: Count = 9,
    steps: Count = 1000,
    lr: Positive = 0.01,
    initial_c: Positive = 1e-3,
    confidence: NonNegative = 0.0,
    abort_early: bool = True,
    variable: Literal["projected", "tanh"] = "projected",
    variant: Literal["corrected", "published"] = "corrected",
) -> tuple[Images, Steps]:
    """CW, https://arxiv.org/abs/1608.04644: Adam on |delta|^2 + c max(margin, -confidence), with a search over c.

    Carlini and Wagner 2017, section VI.A, objective f6 on the scores. Each of `search_steps` searches makes up to
    `steps` updates at one c; then c is bisected, or multiplied by 10 as long as nothing succeeded. Returned is the
    adversarial point with the smallest distance of all evaluated, else the one with the smallest margin. `confidence`
    is in units of scores; `lr` in shares of the box's width (of tanh's variable; in units of the space without a
    box). Steps are updates, of all searches together.

    Deviations: the margin is divided by the length of its gradient at the image. So it is a distance, and no scale of
    the scores changes what a c does; powers of 10 too small to cross the linearised boundary are skipped. The variable
    is the image, projected on the box (section V.B), for tanh hardly moves pixels near 0 and 1; variable: tanh is the
    paper's. A search starts from the best point so far, after a success at half its rate, and has succeeded if it is
    adversarial in its last tenth. A sample ends searches, and the attack, without waiting for others.

    The published variant is that of the study of stochastic winner-takes-all networks: tanh, the margin as it is,
    c = 1e-4, confidence 0.01, one search of all `steps`; the study leaves `steps` and `lr` open. Where it prints
    arctanh, tanh is meant, and its last term, lambda |z|^2, is left out for want of a lambda.
    """
    refuse(AttackError, refuses(classes=model.num_classes))
    published = variant == "published"
    confidence = _STUDY_CONFIDENCE if published else confidence
    look = steps if published or not abort_early else min(steps, max(steps // 10, _LEAST_LOOK))
    box = model.box if budget.box else None
    path = _Path(lr, steps, box, images, tanh=box is not None and (published or variable == "tanh"))
    state = _State(images, labels, path.inverse(images), _STUDY_C if published else initial_c)
    gradient = _visit(model, state, images, confidence, trusting=published)
    if not published:
        state.normalise(gradient, confidence, box)
    state.done = state.best_distance == 0
    state.ended |= state.done
    found, made, limit = images.clone(), torch.zeros_like(labels), 1 if published else search_steps
    whole, rows, step = model, torch.arange(len(labels), device=labels.device), 0
    while len(rows) > 0:
        if step % model.sync_every == 0:
            ended = torch.nonzero(state.ended)[:, 0]
            if len(ended) > 0:
                state.begin_search(ended, path, limit)
                going = torch.nonzero(~state.done)[:, 0]
                if len(going) < len(rows):
                    found[rows], made[rows] = state.best, state.made
                    rows, state, model = rows[going], state.at(going), model.at(going)
                    continue
        points = path.points(state.position)
        gradient = _visit(model, state, points, confidence, trusting=published)
        state.end_search(steps, look)
        path.step(state, points, gradient)
        step += 1
    return found if published else settled(whole, images, labels, found), made


def refuses(*, classes: int) -> Iterator[str]:
    """A single class."""
    yield from lone_class("cw", classes)


class _State(PerSample):
    """Where a batch of samples stands: one row each."""

    def __init__(self, images: Images, labels: Labels, position: Tensor, c: float) -> None:
        def every(value: float, dtype: torch.dtype = images.dtype) -> Tensor:
            return torch.full((len(images),), value, dtype=dtype, device=images.device)

        self.images, self.labels = images, labels
        self.best, self.best_distance, self.best_margin = images.clone(), every(torch.inf), every(torch.inf)
        self.c, self.lower, self.upper = every(c), every(0), every(torch.inf)
        self.scale, self.rate = every(1), every(1)
        self.searches, self.updates, self.made = (every(0, torch.int64) for _ in range(3))
        self.ended, self.done, self.succeeded = (every(0, torch.bool) for _ in range(3))
        self.position, self.mean, self.square = position, torch.zeros_like(images), torch.zeros_like(images)
        self.lowest_loss, self.last_loss = every(torch.inf), every(torch.inf)

    def normalise(self, gradient: Tensor, confidence: float, box: Box | None) -> None:
        """Make the margin a distance, by its gradient at the images; skip powers of 10 that are too small for it."""
        length = torch.linalg.vector_norm(gradient.flatten(1), dim=1) / self.c
        self.scale = torch.where(length > 0, length, 1.0).clamp(min=torch.finfo(length.dtype).tiny)
        needed = (2 * (self.best_margin + confidence) / self.scale).clamp(min=0)
        self.lowest_loss = self.lowest_loss + torch.inf  # what was noted so far was the loss of another scale
        # No distance is longer than the diagonal: where it seems so a gradient vanishes, and every c stays possible.
        most = torch.inf if box is None else 2 * float((box[1] - box[0]).amax()) * self.images[:1].numel() ** 0.5
        powers = (needed.clamp(max=most) / self.c).log10().ceil().clamp(min=0)
        self.c = self.c * 10**powers
        self.lower = torch.where((powers > 0) & (needed <= most), self.c / 10, self.lower)

    def offer(self, points: Images, distance: Tensor, margin: Tensor, reached: Tensor) -> None:
        """Take the points that are better than the best so far."""
        distance = distance.masked_fill(~reached, torch.inf)
        better = (distance < self.best_distance) | (margin < self.best_margin)
        # Exact for weights 0 and 1, and five times as fast as `where` with a condition that is broadcast.
        self.best.lerp_(points, rowwise(better.to(points.dtype), points))
        self.best_distance = torch.minimum(self.best_distance, distance)
        # Once the aim is reached only the distance counts.
        self.best_margin = torch.minimum(self.best_margin, margin).masked_fill(reached, -torch.inf)
        self.succeeded = self.succeeded | reached

    def end_search(self, steps: int, look: int) -> None:
        """Mark the samples whose search at their c ends: after `steps` updates, or if a look finds the loss stalled."""
        looks = (self.updates % look == 0) & (self.updates > 0)
        stalled = looks & (self.lowest_loss > self.last_loss * _STALLED)
        self.ended = self.ended | stalled | (self.updates >= steps)
        self.last_loss = torch.where(looks, self.lowest_loss, self.last_loss)
        self.succeeded = self.succeeded & (self.ended | ~looks)

    def begin_search(self, rows: Rows, path: "_Path", search_steps: int) -> None:
        """Give some samples, whose search has ended, a new c, and put them back to their best points."""
        c, won = self.c[rows], self.succeeded[rows]
        upper, lower = torch.where(won, c, self.upper[rows]), torch.where(won, self.lower[rows], c)
        self.upper[rows], self.lower[rows] = upper, lower
        self.c[rows] = torch.where(upper.isfinite(), (lower + upper) / 2, c * 10)
        self.searches[rows] += 1
        self.rate[rows] = torch.where(won, self.rate[rows] * _SLOWER, self.rate[rows])
        self.done[rows] |= (self.searches[rows] >= search_steps) | (upper - lower <= _CLOSE * c)
        self.position[rows] = path.inverse(self.best[rows])
        for restarted in (self.mean, self.square, self.updates, self.ended, self.succeeded):
            restarted[rows] = 0
        self.lowest_loss[rows] = self.last_loss[rows] = torch.inf


class _Path:
    """Adam, sample by sample, in the variable that images are a function of."""

    def __init__(self, lr: float, steps: int, box: Box | None, images: Images, *, tanh: bool) -> None:
        self.box, self.tanh = box, tanh
        self.rate: float | Tensor = lr if tanh or box is None else lr * (box[1] - box[0])
        update = torch.arange(1, steps + 1, dtype=torch.float64)
        self.unbiased = (1 - _BETA_2**update).sqrt().to(images)
        self.sizes = self.unbiased / (1 - _BETA_1**update).to(images)

    def inverse(self, images: Images) -> Tensor:
        """The variable of images, not theirs in memory."""
        if self.box is None or not self.tanh:
            return images.clone()
        low, high = self.box
        return ((2 * (images - low) / (high - low) - 1) * _INWARD).atanh()

    def points(self, position: Tensor) -> Images:
        """The images of a variable."""
        if self.box is None or not self.tanh:
            return position
        low, high = self.box
        return low + (high - low) * (position.tanh() + 1) / 2

    def step(self, state: _State, points: Images, gradient: Tensor) -> None:
        """One update, in place, of every sample whose search has not ended. `gradient` is the loss's by the images."""
        if self.box is not None and self.tanh:
            low, high = self.box
            gradient = gradient * (points - low) * (high - points) * (2 / (high - low))
        moving = ~state.ended
        update = state.updates.clamp(max=len(self.sizes) - 1)
        size = self.sizes[update] * state.rate * moving
        state.updates, state.made = state.updates + moving, state.made + moving
        state.mean.lerp_(gradient, 1 - _BETA_1)
        state.square.mul_(_BETA_2).addcmul_(gradient, gradient, value=1 - _BETA_2)
        direction = state.square.sqrt().add_(rowwise(_ADAM_EPS * self.unbiased[update], gradient))
        torch.div(state.mean, direction, out=direction)
        state.position.addcmul_(direction, -self.rate * rowwise(size, direction))
        if self.box is not None and not self.tanh:
            clip(state.position, self.box, out=state.position)


def _visit(model: CountedModel, state: _State, points: Images, confidence: float, *, trusting: bool) -> Tensor:
    """Evaluate points: offer them, note their loss, and return its gradient by the points.

    `trusting`: of a model that draws, one look is enough.
    """
    with torch.enable_grad():
        points = points.detach().requires_grad_()
        scores = model(points)
    seen = scores.detach()
    margin = model.margins(seen, state.labels)
    excess = margin + confidence
    delta = points.detach() - state.images
    distance = torch.linalg.vector_norm(delta.flatten(1), dim=1)
    reached = model.fooled(seen, state.labels) & (excess <= 0)
    if not trusting:
        reached = believed(model, points.detach(), state.labels, reached, distance < state.best_distance)
    state.offer(points.detach(), distance, margin, reached)
    weight = state.c / state.scale
    state.lowest_loss = torch.minimum(state.lowest_loss, distance.square() + weight * excess.clamp(min=0))
    ahead = _margin_gradient(model, seen, state.labels) * (weight * (excess > 0))[:, None]
    (gradient,) = torch.autograd.grad(scores, points, ahead)
    return gradient.add_(delta, alpha=2)


def _margin_gradient(model: CountedModel, scores: Scores, labels: Labels) -> Tensor:
    """The gradient of `model.margins` by the scores, (batch, classes)."""
    if model.targets is None:
        return gap_gradient(scores, labels, best_other(scores, labels))
    return gap_gradient(scores, best_other(scores, model.targets), model.targets)
