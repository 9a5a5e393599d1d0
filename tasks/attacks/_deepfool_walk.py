"""The walk of DeepFool to the nearest class boundary, for every attack that begins with it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.attacks._class_boundary import Boundary, nearest, straight
from tasks.cases import Norm
from tasks.counted import CountedModel
from tasks.metrics import Box, best_other, best_others, rowwise
from tasks.per_sample import PerSample
from tasks.types import Images, Labels, Scores, Steps

BEYOND = 1e-4
"""Length added to every step, as in the softRmax thesis's code: a step that ends exactly on a boundary stalls."""
FIRST_LOOKS = 3
"""Classes that get a gradient at the image."""
_EARLY = (0.5, 0.7)
"""Shares of the way that the first steps go: a gradient half-way points at a boundary better than one at the image."""
_LONGEST = 0.1
"""The longest step, as a share of the way across the box: a tiny gradient does not know where a boundary is."""
_FLAT = 1e-30


@dataclass(frozen=True)
class Rules:
    """How to walk: see `deepfool`. `box` is None where steps may leave it.

    `first_looks` classes get a gradient at the image, `looks` ones at every further point.
    """

    norm: Norm
    box: Box | None
    overshoot: float = 0.02
    min_step: float | None = None
    first_looks: int = FIRST_LOOKS
    looks: int = 1
    published: bool = False

    def slope(self, gradient: Tensor) -> Tensor:
        """The gradient's dual norm, (n,), and never quite zero."""
        flat = gradient.flatten(1)
        slope: Tensor = torch.linalg.vector_norm(flat, dim=1) if self.norm == "l2" else flat.abs().sum(1)
        return slope.clamp(min=_FLAT)

    def share(self, step: int, steps: int) -> float:
        """How much of the way to the boundary a step goes."""
        early = () if self.published else _EARLY[: steps - 1]
        return early[step] if step < len(early) else 1 + self.overshoot

    def step(self, look: Boundary, free: Tensor, longest: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """Two factors of the step that goes a share of the way to the boundary, along the free gradient."""
        length = look.ways.clamp(min=0) + BEYOND if self.min_step is None else look.ways.clamp(min=self.min_step)
        length = length.clamp(max=longest) * share
        if self.norm == "l2":
            return free, rowwise(length / look.slopes, free)
        return free.sign(), rowwise(length, free)

    def longest(self, model: CountedModel, like: Images) -> Tensor:
        """The longest step, (); as published, one that is just not infinite where the model is flat."""
        one = like.new_ones(1, *like.shape[1:])
        if self.published:
            return 10 * one.sum().sqrt()
        across = model.inputs(one) - model.inputs(torch.zeros_like(one))
        return _LONGEST * (across.square().sum().sqrt() if self.norm == "l2" else across.amax())


@dataclass
class Crossing(PerSample):
    """Where each walk ended, with the gap and its gradient there; where it `fools`, just beyond a boundary."""

    points: Images
    gaps: Tensor
    gradients: Tensor
    fools: Tensor
    steps: Steps


def walk(model: CountedModel, images: Images, labels: Labels, rules: Rules, steps: int) -> Crossing:
    """Step until a sample fools (as published: by however little), or has made `steps` steps."""
    none = torch.zeros_like(labels)
    end = Crossing(images.clone(), none.to(images.dtype), images.clone(), none > 0, none)
    rows, longest = torch.arange(len(labels), device=labels.device), rules.longest(model, images)
    places, classes, slopes = images, labels[:, None], None
    for step in range(steps + 1):
        points = places.detach() if rules.box is None else places.clamp(*rules.box)
        places = places if rules.published else points
        with torch.enable_grad():
            scores = model(points.requires_grad_())
        known = scores.detach()
        if step == 0:
            classes = _by_score(model, known, labels)[:, : rules.first_looks if rules.published else None]
        beaten = labels if model.targets is None else best_other(known, model.targets)
        # Gradients even where all fool by now: what a sample costs must not depend on its neighbours.
        look, free, slopes = _nearest(points, scores, classes, beaten, slopes, rules)
        fools = differs(model, known, labels) if rules.published else _fooled(model, points.detach(), known, labels)
        places = torch.addcmul(places.detach(), *rules.step(look, free, longest, rules.share(step, steps)))
        # A look at every step: a step is several passes, and a fooled sample in the graph costs them all.
        done = fools | (step == steps)
        leaving, going = torch.nonzero(done)[:, 0], torch.nonzero(~done)[:, 0]
        if len(leaving) == 0:
            continue
        here = Crossing(points.detach(), look.gaps, look.gradients, fools, torch.full_like(labels, step))
        end.put(rows[leaving], here.at(leaving))
        if len(going) == 0:
            break
        model, rows, labels = model.at(going), rows[going], labels[going]
        places, classes, slopes = places[going], classes[going], slopes[going]
    return end


def differs(model: CountedModel, scores: Scores, labels: Labels) -> Tensor:
    """Whether the aim is reached, by however little, (n,)."""
    predicted = scores.argmax(1)
    return predicted != labels if model.targets is None else predicted == model.targets


def _fooled(model: CountedModel, points: Images, scores: Scores, labels: Labels) -> Tensor:
    """Whether the aim is reached at points with these scores, and that can be believed, (n,)."""
    return model.confirmed(points, labels, model.fooled(scores, labels))


def _by_score(model: CountedModel, scores: Scores, labels: Labels) -> Labels:
    """The classes that may win, best first, (n, classes): all but the label, or the target."""
    if model.targets is not None:
        return model.targets[:, None]
    return best_others(scores, labels, model.num_classes - 1)


def _nearest(
    points: Images, scores: Scores, classes: Labels, beaten: Labels, slopes: Tensor | None, rules: Rules
) -> tuple[Boundary, Tensor, Tensor]:
    """The nearest boundary of `classes`, (n, k), with the class that is to be beaten, (n,), in the norm of the walk.

    Its slope is the dual norm of the free gradient, which comes second: that along which the box lets a point move.
    Third are the slopes of all classes as last seen, (n, k). At the image, where there are none yet, a class without a
    gradient counts as steep as the steepest.
    """
    gaps = scores.detach().gather(1, classes) - scores.detach().gather(1, beaten[:, None])
    rank, looks = (-gaps, rules.first_looks) if slopes is None else (_way(gaps, slopes), rules.looks)
    columns = rank.topk(min(looks, gaps.shape[1]), dim=1, largest=False).indices
    free = _freedom(points, None if rules.published else rules.box)
    found = nearest(
        points,
        scores,
        classes.gather(1, columns),
        beaten,
        gaps.gather(1, columns),
        slope_of=lambda gradient: rules.slope(free(gradient)),
        way_of=_way,
    )
    seen = torch.zeros_like(gaps).scatter(1, columns, found.all_slopes)
    seen = torch.where(seen > 0, seen, seen.amax(1, keepdim=True) if slopes is None else slopes)
    return found, free(found.gradients), seen


def _way(gaps: Tensor, slopes: Tensor) -> Tensor:
    """The way to each boundary, finite however flat the model is; beyond one, less the more its class wins by."""
    return torch.where(gaps > 0, -gaps, straight(gaps, slopes)).clamp(max=torch.finfo(gaps.dtype).max)


def _freedom(points: Images, box: Box | None) -> Callable[[Tensor], Tensor]:
    """Takes from a gradient what points out of the box where a pixel is at its end."""
    if box is None:
        return lambda gradient: gradient
    low, high = (end - points.detach() for end in box)
    low, high = low.div_(_FLAT), high.div_(_FLAT)
    return lambda gradient: gradient.clamp(low, high)
