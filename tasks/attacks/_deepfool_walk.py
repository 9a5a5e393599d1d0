"""The walk of DeepFool to the nearest class boundary, for every attack that begins with it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.config import Norm
from tasks.counted import CountedModel
from tasks.metrics import Box, best_other, rowwise
from tasks.types import Images, Labels, Scores, Steps

_BEYOND = 1e-4
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

    def step(self, look: "Look", longest: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """Two factors of the step that goes a share of the way to the boundary."""
        length = look.ways.clamp(min=0) + _BEYOND if self.min_step is None else look.ways.clamp(min=self.min_step)
        length = length.clamp(max=longest) * share
        if self.norm == "l2":
            return look.free, rowwise(length / look.slopes, look.free)
        return look.free.sign(), rowwise(length, look.free)

    def longest(self, model: CountedModel, like: Images) -> Tensor:
        """The longest step, (); as published, one that is just not infinite where the model is flat."""
        one = like.new_ones(1, *like.shape[1:])
        if self.published:
            return 10 * one.sum().sqrt()
        across = model.inputs(one) - model.inputs(torch.zeros_like(one))
        return _LONGEST * (across.square().sum().sqrt() if self.norm == "l2" else across.amax())


@dataclass
class Look:
    """What is seen of the nearest boundary: `gaps`, (n,), are the score that is to win less the one it has to beat.

    `ways` lead to the boundary, in the norm of the walk, and are negative beyond it. `free` is that part of the gaps'
    gradient along which the box lets a point move, `slopes` its dual norm.
    """

    ways: Tensor
    gaps: Tensor
    slopes: Tensor
    gradients: Tensor
    free: Tensor

    def nearer(self, other: "Look") -> "Look":
        """The nearer of two, row by row."""
        first = self.ways <= other.ways
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Look(*(torch.where(rowwise(first, mine), mine, theirs) for mine, theirs in pairs))


@dataclass
class Crossing:
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
        # Gradients even where all fool by now: what a sample costs must not depend on its neighbours.
        look, slopes = _nearest(points, _gaps(model, scores, labels, classes), slopes, rules)
        fools = differs(model, known, labels) if rules.published else model.fooled(known, labels)
        places = torch.addcmul(places.detach(), *rules.step(look, longest, rules.share(step, steps)))
        # A look at every step: a step is several passes, and a fooled sample in the graph costs them all.
        done = fools | (step == steps)
        leaving, going = torch.nonzero(done)[:, 0], torch.nonzero(~done)[:, 0]
        if len(leaving) == 0:
            continue
        gone = rows[leaving]
        end.points[gone], end.gaps[gone] = points.detach()[leaving], look.gaps[leaving]
        end.gradients[gone], end.fools[gone], end.steps[gone] = look.gradients[leaving], fools[leaving], step
        if len(going) == 0:
            break
        model, rows, labels = model.at(going), rows[going], labels[going]
        places, classes, slopes = places[going], classes[going], slopes[going]
    return end


def differs(model: CountedModel, scores: Scores, labels: Labels) -> Tensor:
    """Whether the aim is reached, by however little, (n,)."""
    predicted = scores.argmax(1)
    return predicted != labels if model.targets is None else predicted == model.targets


def _by_score(model: CountedModel, scores: Scores, labels: Labels) -> Labels:
    """The classes that may win, best first, (n, classes): all but the label, or the target."""
    if model.targets is not None:
        return model.targets[:, None]
    return scores.scatter(1, labels[:, None], -torch.inf).topk(model.num_classes - 1, dim=1).indices


def _gaps(model: CountedModel, scores: Scores, labels: Labels, classes: Labels) -> Tensor:
    """The scores of `classes` less the one they have to beat: the label's, or for a target the best other."""
    beaten = labels if model.targets is None else best_other(scores.detach(), model.targets)
    return scores.gather(1, classes) - scores.gather(1, beaten[:, None])


def _nearest(points: Images, gaps: Tensor, slopes: Tensor | None, rules: Rules) -> tuple[Look, Tensor]:
    """The nearest boundary, and the slopes of all classes as last seen, (n, classes).

    At the image, where there are no slopes yet, a class without a gradient counts as steep as the steepest.
    """
    known = gaps.detach()
    rank, looks = (-known, rules.first_looks) if slopes is None else (_rank(known, slopes), rules.looks)
    rooms = None if rules.published else _rooms(points, rules.box)
    found, seen = None, torch.zeros_like(known)
    for column in rank.topk(min(looks, known.shape[1]), dim=1, largest=False).indices.T[:, :, None].unbind():
        (gradient,) = torch.autograd.grad(gaps.gather(1, column).sum(), points, retain_graph=True)
        free = gradient if rooms is None else gradient.clamp(*rooms)
        slope = rules.slope(free)
        seen.scatter_(1, column, slope[:, None])
        gap = known.gather(1, column)[:, 0]
        look = Look(_rank(gap, slope), gap, slope, gradient, free)
        found = look if found is None else found.nearer(look)
    if found is None:
        raise ValueError("DeepFool needs a model of two classes or more")
    return found, torch.where(seen > 0, seen, seen.amax(1, keepdim=True) if slopes is None else slopes)


def _rank(gaps: Tensor, slopes: Tensor) -> Tensor:
    """The way to each boundary; beyond one less the more its class wins by."""
    return torch.where(gaps > 0, -gaps, gaps.abs() / slopes)


def _rooms(points: Images, box: Box | None) -> Box | None:
    """Limits of a gradient that leave it as it is, but for what points out of the box where a pixel is at its end."""
    if box is None:
        return None
    low, high = (end - points.detach() for end in box)
    return low.div_(_FLAT), high.div_(_FLAT)
