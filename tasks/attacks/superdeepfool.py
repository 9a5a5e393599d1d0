"""SuperDeepFool: DeepFool, then the nearest point on the tangent plane of the boundary it found, again and again."""

from collections.abc import Iterator

import torch
from torch import Tensor

from tasks.attacks._class_boundary import drawn_back, nearest, settled
from tasks.attacks._deepfool_walk import BEYOND
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.lone_class import lone_class
from tasks.metrics import Box, best_other, rowwise
from tasks.parameters import Count, NonNegative
from tasks.refusals import refuse
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Rows, Scores, Steps

_RIVALS = 2
"""Classes that get a gradient after the first step: those whose boundary was nearest by their last gradients."""
_SETTLED = 0.99
"""A sample leaves when a projection has not brought its distance below this share of what it was."""


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/2303.12481",
    norms=("l2",),
    budget="minimal",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    stops="drawing",
)
def superdeepfool(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    steps: Count = 100,
    inner_steps: Count = 50,
    overshoot: NonNegative = 0.02,
    candidates: Count = 10,
) -> tuple[Images, Steps]:
    """SDF(inf, 1), https://arxiv.org/abs/2303.12481: DeepFool until fooled, projected on the boundary's normal there.

    Abdollahpourrostam, Abroshan and Moosavi-Dezfooli 2023, algorithm 2. From a point x DeepFool finds x' beyond the
    boundary, whose normal there is w; the next x is the image plus the part of x' - image along w. A sample ends when
    x fools, when x' is hardly closer than the one before, after `steps` projections, or when `inner_steps` of DeepFool
    do not fool. Then the ray is searched for the boundary. Returned is the smallest adversarial point evaluated, else
    the last. Reported steps are those of DeepFool and the projections; `overshoot` is a share of a step of DeepFool.

    Deviations: in adversarial-library only a fooling x ends a sample, and projections are added up, where here each
    starts at the image: the nearest point of the tangent plane. The box is kept at every step. `candidates`
    best-scoring classes are looked at first, after that the two whose boundary was nearest. With a target there is
    one boundary, that to the best other class.
    """
    refuse(AttackError, refuses(classes=model.num_classes))
    walk = _Walk(images, model.box, model.num_classes)
    rows = torch.arange(len(labels), device=labels.device)
    rivals = min(candidates, model.num_classes - 1)
    limit = 10 * images[:1].numel() ** 0.5  # where the model is flat, a step must not end in infinity
    while len(rows) > 0:
        view = model.at(rows)
        with torch.enable_grad():
            points = walk.points[rows].requires_grad_()
            scores = view(points)
        fools, slow = walk.visit(rows, view, scores.detach(), labels[rows])
        up, down = _pairs(view, scores.detach(), labels[rows], fools, walk.norms[rows], rivals)
        # Gradients even where all are done by now: what a sample costs must not depend on its neighbours.
        normal, length, norms = _nearest(scores, points, up, down, fools)
        walk.norms[rows] = walk.norms[rows].masked_fill(walk.steps[rows, None] == 0, 0.0).scatter(1, up, norms)
        flat = fools & length.isinf()
        worn = torch.where(fools, walk.projections[rows] >= steps, walk.walked[rows] >= inner_steps)
        going = torch.nonzero(~(flat | worn | slow | (fools & (walk.walked[rows] == 0))))[:, 0]
        rows, rivals = rows[going], min(_RIVALS, rivals)
        length = (length[going] + BEYOND).clamp(max=limit) * (1 + overshoot)
        walk.move(rows, normal[going], length, fools[going])
    rows = torch.nonzero(walk.distances.isfinite() & (walk.distances > 0))[:, 0]
    if len(rows) > 0:
        ends = images[rows], labels[rows], walk.best[rows], walk.margins[rows], walk.first_margins[rows]
        walk.best[rows] = drawn_back(model.at(rows), *ends)
    found = torch.where(rowwise(walk.distances.isfinite(), images), walk.best, walk.points)
    return settled(model, images, labels, found), walk.steps


def refuses(*, classes: int) -> Iterator[str]:
    """A single class."""
    yield from lone_class("superdeepfool", classes)


class _Walk:
    """Where a batch of samples stands: one row each."""

    def __init__(self, images: Images, box: Box, num_classes: int) -> None:
        self.images, self.box = images, box
        self.points, self.best = images.clone(), images.clone()
        self.distances = images.new_full((len(images),), torch.inf)
        self.margins, self.first_margins = torch.zeros_like(self.distances), torch.zeros_like(self.distances)
        self.norms = images.new_ones(len(images), num_classes)
        self.steps = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        self.walked, self.projections = torch.zeros_like(self.steps), torch.zeros_like(self.steps)

    def visit(self, rows: Rows, model: CountedModel, scores: Scores, labels: Labels) -> tuple[Tensor, Tensor]:
        """Note what the scores say of the points of some rows; return which fool, and which of these got no closer."""
        margins, fools = model.standing(scores, labels)
        fools = model.confirmed(self.points[rows], labels, fools)
        first = self.steps[rows] == 0
        self.first_margins[rows] = torch.where(first, margins, self.first_margins[rows])
        before = self.distances[rows]
        self.offer(rows, self.points[rows], margins, fools)
        return fools, fools & (self.distances[rows] > _SETTLED * before)

    def offer(self, rows: Rows, points: Images, margins: Tensor, fools: Tensor) -> None:
        """Take points of some rows that fool and are closer than the best so far."""
        distances = _length(points - self.images[rows])
        # On a linear model a projection leads back to where it came from: rounding must not tell which is closer.
        closer = fools & (distances < (1 - 1e-6) * self.distances[rows])
        taken = rows[closer]
        self.best[taken], self.distances[taken] = points[closer], distances[closer]
        self.margins[taken] = margins[closer]

    def move(self, rows: Rows, normal: Tensor, length: Tensor, fools: Tensor) -> None:
        """Go `length` along the unit normal; from where a point fools, to its projection on the normal at the image."""
        images, points = self.images[rows], self.points[rows]
        along = ((points - images) * normal).flatten(1).sum(1)
        ahead = torch.where(rowwise(fools, points), rowwise(along, normal), rowwise(length, normal)) * normal
        self.points[rows] = (torch.where(rowwise(fools, points), images, points) + ahead).clamp(*self.box)
        self.steps[rows] += 1
        self.projections[rows] += fools
        self.walked[rows] = (self.walked[rows] + 1).masked_fill(fools, 0)


def _pairs(
    model: CountedModel, scores: Scores, labels: Labels, fools: Tensor, norms: Tensor, rivals: int
) -> tuple[Labels, Labels]:
    """The classes whose scores are to rise, nearest boundary first, (n, some), and the one that is to fall, (n,)."""
    if model.targets is not None:
        return model.targets[:, None], best_other(scores, model.targets)
    gaps = (scores - scores.gather(1, labels[:, None])).abs() / norms
    gaps = gaps.masked_fill(norms == 0, torch.inf).scatter(1, labels[:, None], torch.inf)
    rising = gaps.topk(rivals, dim=1, largest=False).indices
    # Beyond a boundary it is the normal of that one boundary that counts.
    rising[:, 0] = torch.where(fools, best_other(scores, labels), rising[:, 0])
    return rising, labels


def _nearest(scores: Scores, points: Images, up: Labels, down: Labels, fools: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The unit normal of the nearest linearised boundary (where a point fools: of the first), its distance, all norms.

    Where the model is flat the normal is zero and the length infinite.
    """
    seen = scores.detach()
    gaps = seen.gather(1, up) - seen.gather(1, down[:, None])
    gaps[:, 1:].masked_fill_(fools[:, None], torch.inf)
    found = nearest(points, scores, up, down, gaps, _length)
    return found.gradients / rowwise(found.slopes, points), found.ways, found.all_slopes


def _length(delta: Tensor) -> Tensor:
    """The l2 norm, (n,)."""
    length: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
    return length
