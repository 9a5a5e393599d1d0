"""DeepFool: step to the nearest class boundary of the linearised model, again and again."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from tasks.config import Budget
from tasks.metrics import Box, CountedModel, fooled, margins, rowwise
from tasks.parameters import Count, NonNegative
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Rows, Scores, Steps

_BEYOND = 1e-4
"""Length added to every step, as in the softRmax thesis's code: a step that ends exactly on a boundary stalls."""
_RIVALS = 2
"""Classes that get a gradient after the first step: those whose boundary was nearest by their last gradients."""
_NARROWINGS = 3
"""Evaluations spent on drawing a fooling point back towards the boundary."""

Fools = Callable[[Scores, Labels], Tensor]
"""Whether a sample counts as fooled, (n,)."""


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1511.04599",
    norms=("l2",),
    budget="minimal",
    knowledge="white-box",
)
def deepfool(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,  # noqa: ARG001 - part of every attack's contract; box and space come with the model
    streams: Streams,  # noqa: ARG001 - part of every attack's contract; nothing is random here
    *,
    steps: Count = 50,
    overshoot: NonNegative = 0.02,
    candidates: Count = 10,
    clip: Literal["loop", "end"] = "loop",
    variant: Literal["corrected", "published"] = "corrected",
) -> tuple[Images, Steps]:
    """DeepFool, https://arxiv.org/abs/1511.04599: x + (1 + overshoot) r, r the sum of steps to the nearest boundary.

    Moosavi-Dezfooli et al. 2016, algorithm 2, on the scores, from the true label. `candidates` best-scoring other
    classes are looked at first; after that the two whose boundary was nearest. A point that fools is drawn back
    along its line to the image, to the closest evaluated point that still fools. With clip: end, the box is kept
    only at the end.

    The published variant is the code of the softRmax thesis, Ingendaa 2024: all classes at every step, the last
    point returned whether it fools or not, and at most steps - 1 reported as steps, although all are made.
    """
    box, every = model.box, model.num_classes - 1
    walk = _Walk(images, overshoot, box if clip == "loop" else None)
    if variant == "published":
        _go(model, labels, walk, _differs, steps=steps, num_classes=every, rivals=every)
        return walk.points.clamp(*box), walk.steps.clamp(max=steps - 1)
    _go(model, labels, walk, fooled, steps=steps, num_classes=min(candidates, every), rivals=min(_RIVALS, every))
    if clip == "end":
        walk.points = walk.points.clamp(*box)
        with torch.no_grad():
            scores = model(walk.points)
        walk.margins, walk.fools = margins(scores, labels), fooled(scores, labels)
    rows = torch.nonzero(walk.fools & (walk.steps > 0))[:, 0]
    if len(rows) > 0:
        walk.points[rows] = _drawn_back(model.at(rows), labels[rows], walk, rows)
    return walk.points, walk.steps


class _Walk:
    """Where a batch of samples stands: one row each. `box` is None where steps may leave it."""

    def __init__(self, images: Images, overshoot: float, box: Box | None) -> None:
        self.images = images
        self.points = images.clone()
        self.travel = torch.zeros_like(images)
        self.stretch = 1 + overshoot
        self.box = box
        self.steps = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        self.fools = self.steps > 0
        self.margins = images.new_zeros(len(images))
        self.first_margins = self.margins

    def move(self, rows: Rows, step: Tensor) -> None:
        """Add a step to the travel of some rows, and move their points."""
        self.travel[rows] += step
        points = self.images[rows] + self.stretch * self.travel[rows]
        self.points[rows] = points if self.box is None else points.clamp(*self.box)
        self.steps[rows] += 1


def _differs(scores: Scores, labels: Labels) -> Tensor:
    return scores.argmax(1) != labels


def _go(
    model: CountedModel, labels: Labels, walk: _Walk, fools: Fools, *, steps: int, num_classes: int, rivals: int
) -> None:
    """Walk every sample until it fools or has made `steps` steps."""
    rows = torch.arange(len(labels), device=labels.device)
    classes, norms = labels[:, None], None
    for step in range(steps + 1):
        points = walk.points[rows].requires_grad_(step < steps)
        with torch.set_grad_enabled(step < steps):
            scores = model.at(rows)(points)
        walk.margins[rows], walk.fools[rows] = margins(scores.detach(), labels[rows]), fools(scores, labels[rows])
        if step == 0:
            walk.first_margins = walk.margins.clone()
            others = scores.detach().scatter(1, labels[:, None], -torch.inf)
            classes = others.topk(num_classes, dim=1).indices
        if step == steps:
            return
        # Gradients even where all fool by now: what a sample costs must not depend on its neighbours.
        nearest, norms = _nearest(scores, points, labels[rows], classes, norms, rivals)
        # A look at every step: a step is several passes, and a fooled sample in the graph costs them all.
        going = torch.nonzero(~walk.fools[rows])[:, 0]
        if len(going) == 0:
            return
        rows, classes, norms = rows[going], classes[going], norms[going]
        walk.move(rows, nearest[going])


def _nearest(
    scores: Scores,
    points: Images,
    labels: Labels,
    classes: Labels,
    norms: Tensor | None,
    rivals: int,
) -> tuple[Tensor, Tensor]:
    """The step to the nearest linearised boundary, and the gradient norms of all classes as last seen, (n, classes).

    All classes get a gradient if there are no norms yet, else the `rivals` nearest by the norms.
    """
    gaps = scores.gather(1, classes) - scores.gather(1, labels[:, None])
    if norms is None or rivals >= classes.shape[1]:
        order = torch.arange(classes.shape[1], device=classes.device).expand_as(classes)
        norms = torch.ones_like(gaps.detach())
    else:
        order = (gaps.detach().abs() / norms).topk(rivals, dim=1, largest=False).indices
    limit = 10 * points[0].numel() ** 0.5  # where the model is flat, a step must not end in infinity
    step, length = torch.zeros_like(points), torch.full_like(gaps[:, 0], torch.inf)
    for place in order.T.unbind():
        gap = gaps.gather(1, place[:, None])[:, 0]
        (gradient,) = torch.autograd.grad(gap.sum(), points, retain_graph=True)
        norm = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        norms = norms.scatter(1, place[:, None], norm[:, None])
        ahead = gap.detach().abs() / norm
        nearer = ahead < length
        length = torch.where(nearer, ahead, length)
        scaled = gradient * rowwise((ahead + _BEYOND).clamp(max=limit) / norm, gradient)
        step = torch.where(rowwise(nearer, step), scaled, step)
    return step, norms


def _drawn_back(model: CountedModel, labels: Labels, walk: _Walk, rows: Rows) -> Images:
    """Fooling points, closer to their images along the line: false position on the margin, a little on the far side."""
    images, ends, best = walk.images[rows], walk.points[rows], walk.points[rows]
    near, far = images.new_zeros(len(rows)), images.new_ones(len(rows))
    near_margin, far_margin = walk.first_margins[rows], walk.margins[rows]
    tiny = torch.finfo(images.dtype).tiny
    for _ in range(_NARROWINGS):
        root = near + (far - near) * near_margin / (near_margin - far_margin).clamp(min=tiny)
        share = root + 0.1 * (far - root)
        points = (images + rowwise(share, images) * (ends - images)).clamp(*model.box)
        with torch.no_grad():
            scores = model(points)
        fools, margin = fooled(scores, labels), margins(scores, labels)
        best = torch.where(rowwise(fools, best), points, best)
        far, far_margin = torch.where(fools, share, far), torch.where(fools, margin, far_margin)
        near, near_margin = torch.where(fools, near, share), torch.where(fools, near_margin, margin)
    return best
