"""The Boundary Attack: a random walk along the decision boundary, towards the image, on decisions alone."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tasks.attacks._boundary_noise import decided, directions, smoother, start
from tasks.attacks._class_boundary import believed, settled
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import Box, rounding, rowwise
from tasks.parameters import Count, Positive
from tasks.per_sample import PerSample
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Rows, Steps


class _Window(NamedTuple):
    """A sliding window of checks, and the shares of hits in it under which steps shrink and over which they grow."""

    length: int
    few: float
    many: float


class _Rule(NamedTuple):
    """How often it is checked whether steps of the present length succeed, and what follows."""

    check_every: int
    spherical: _Window
    source: _Window
    coarsest: int
    """Starting noise comes in squares of up to 2^coarsest pixels."""
    grains: tuple[int, ...]
    """Directions from one check to the next are smooth over so many pixels, in turn."""
    spherical_step: float
    source_step: float


_RULES = {
    "published": _Rule(10, _Window(100, 0.2, 0.5), _Window(30, 0.1, 0.25), 0, (1,), 0.01, 0.01),
    "corrected": _Rule(5, _Window(10, 0.2, 0.5), _Window(5, 0.1, 0.25), 4, (2, 2, 1), 0.3, 0.1),
}
_HAIR = 1e-4
"""How much further out, relatively, a final point is put, so that rounding in another batch shape cannot undo it.

To that comes the rounding of the image itself, which is more where the image is close to the boundary.
"""


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1712.04248",
    norms=("l2",),
    budget="minimal",
    knowledge="decision",
    targeting=("untargeted",),
    stops="drawing",
)
def boundary(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    steps: Count = 25000,
    spherical_step: Positive | None = None,
    source_step: Positive | None = None,
    convergence: Positive = 1e-7,
    adaptation: Positive = 1.5,
    init_steps: Count = 50,
    init_tries: Count = 100,
    variant: Literal["corrected", "published"] = "corrected",
) -> tuple[Images, Steps]:
    """Boundary Attack, https://arxiv.org/abs/1712.04248: walk on the sphere around the image, then towards it.

    Brendel et al. 2018, algorithm 1, sample by sample. Every so many steps it is noted whether the point on the
    sphere, and the whole step, fool; where many of the last do, step lengths (relative to the distance) are
    multiplied by `adaptation`, where few do, divided. A sample is done when its source step is below
    `convergence`. The start is uniform noise that fools (`init_tries` draws), blended with the image in
    `init_steps` equal parts; where there is none, NaN comes back. An image that is misclassified as it is comes back.

    The published variant has the rule of the softRmax thesis, Ingendaa 2024: both steps 0.01 at first, a check every
    10 steps, windows of 100 checks for the sphere and 30 for the source step. Its library, Foolbox 3, starts from the
    same blends, of up to 1,000 draws of noise: init_tries: 1000. The corrected one begins with steps of
    0.3 and 0.1, checks every 5 steps with windows of 10 and 5, and draws two of three directions at half the
    resolution, after Guo et al. 2018, https://arxiv.org/abs/1809.08758: in a quarter of the steps it ends closer. Its
    starting noise is ever coarser, which fools models that see fine noise as one class. It is untargeted: a targeted
    walk starts from an image of the target class, and noise hardly ever is one.
    """
    rule = _RULES[variant]
    with torch.no_grad():
        ends = start(model, images, labels, streams, blends=init_steps, tries=init_tries, coarsest=rule.coarsest)
        taken = torch.zeros_like(labels)
        first_steps = spherical_step or rule.spherical_step, source_step or rule.source_step
        walk = _begin(ends, images, labels, rule, *first_steps)
        box = _full(model.box, images)
        ups = [smoother(images, grain) for grain in rule.grains]
        for first in range(0, steps, rule.check_every):
            if len(walk.rows) == 0:
                break
            block = range(first, min(first + rule.check_every, steps))
            view, up = model.at(walk.rows), ups[first // rule.check_every % len(ups)]
            for step, noise in directions(streams.at(walk.rows), block, images, up):
                around = _advance(view, walk, noise, box)
                if (step + 1) % rule.check_every == 0:
                    _adapt(view, walk, around, rule, adaptation)
            taken[walk.rows] = block.stop
            ends[walk.rows] = walk.points
            going = torch.nonzero((walk.source_step >= convergence) & (walk.distance > 0))[:, 0]
            walk = walk if len(going) == len(walk.rows) else walk.at(going)
        return settled(model, images, labels, _a_hair_out(model, images, labels, ends)), taken


@dataclass
class _Walk(PerSample):
    """The samples still walking: one row each. Step lengths are relative to the distance."""

    rows: Rows
    images: Images
    labels: Labels
    points: Images
    distance: Tensor
    fools: Tensor
    spherical_step: Tensor
    source_step: Tensor
    spherical_hits: Tensor
    spherical_checks: Tensor
    source_hits: Tensor
    source_checks: Tensor


def _begin(
    ends: Images, images: Images, labels: Labels, rule: _Rule, spherical_step: float, source_step: float
) -> _Walk:
    """The walk of the samples that have a start other than their own image."""
    rows = torch.nonzero(_norm(ends - images) > 0)[:, 0]
    points, images = ends[rows], images[rows]
    distance = _norm(points - images)
    hits = torch.zeros(len(rows), 1, dtype=torch.bool, device=rows.device)
    return _Walk(
        rows=rows,
        images=images,
        labels=labels[rows],
        points=points,
        distance=distance,
        fools=torch.ones_like(rows, dtype=torch.bool),
        spherical_step=torch.full_like(distance, spherical_step),
        source_step=torch.full_like(distance, source_step),
        spherical_hits=hits.repeat(1, rule.spherical.length),
        spherical_checks=torch.zeros_like(rows),
        source_hits=hits.repeat(1, rule.source.length),
        source_checks=torch.zeros_like(rows),
    )


def _advance(model: CountedModel, walk: _Walk, noise: Tensor, box: Box) -> Images:
    """Propose a step for every sample and take those that fool and come closer; the points on the sphere."""
    around, proposed, distance = _propose(walk, noise, box)
    walk.fools = model(proposed).argmax(1) != walk.labels
    nearer = distance < walk.distance
    walk.fools = believed(model, proposed, walk.labels, walk.fools, nearer)
    taken = walk.fools & nearer
    walk.points = torch.where(rowwise(taken, proposed), proposed, walk.points)
    walk.distance = torch.where(taken, distance, walk.distance)
    return around


def _adapt(model: CountedModel, walk: _Walk, around: Images, rule: _Rule, adaptation: float) -> None:
    """Check the last step, and change the step lengths if that is due."""
    around_fools = model(around).argmax(1) != walk.labels
    by_sphere = _exponent(walk.spherical_hits, walk.spherical_checks, around_fools, rule.spherical)
    by_source = _exponent(walk.source_hits, walk.source_checks, walk.fools, rule.source)
    walk.spherical_step = walk.spherical_step * adaptation**by_sphere
    walk.source_step = walk.source_step * adaptation ** (by_sphere + by_source)


def _propose(walk: _Walk, noise: Tensor, box: Box) -> tuple[Images, Images, Tensor]:
    """A point on the sphere around each image, in a random direction, the point a step closer, and its distance."""
    tiny = torch.finfo(noise.dtype).tiny
    inward = walk.images - walk.points
    # Between two looks at the walk a point may come to lie on the image itself, of a model that draws.
    along = (noise * inward).flatten(1).sum(1) / walk.distance.square().clamp(min=tiny)
    # The length of the noise without its part along the way inward, which is taken off below, with the sum.
    across = (_norm(noise).square() - (along * walk.distance).square()).clamp(min=tiny).sqrt()
    shrink = (walk.spherical_step.square() + 1).rsqrt()
    length = shrink * walk.spherical_step * walk.distance / across
    outward = noise.mul_(rowwise(length, noise)).addcmul_(inward, rowwise(-(shrink + length * along), noise))
    around = outward.add_(walk.images).clamp_(*box)
    inward = torch.sub(walk.images, around, out=inward)
    reach = _norm(inward)
    step = (walk.source_step * walk.distance + reach - walk.distance).clamp(min=0) / reach.clamp(min=tiny)
    # Between the image and a point in the box there is no need to clip.
    return around, torch.addcmul(around, inward, rowwise(step, inward)), (1 - step).abs() * reach


def _exponent(hits: Tensor, checks: Tensor, hit: Tensor, window: _Window) -> Tensor:
    """Note one more check in the window, (n, length); 1 where steps are to grow, -1 to shrink, else 0, (n,).

    A window that has changed a step is emptied.
    """
    hits.scatter_(1, (checks % window.length)[:, None], hit[:, None])
    checks += 1
    full, share = checks >= window.length, hits.sum(1) / window.length
    grow, shrink = full & (share > window.many), full & (share < window.few)
    checks.masked_fill_(grow | shrink, 0)
    return grow.int() - shrink.int()


def _full(box: Box, images: Images) -> Box:
    """The box as whole images, (1, ...), to which clipping is several times faster than to a value per channel."""
    low, high = (end.expand(1, *images.shape[1:]).contiguous() for end in box)
    return low, high


def _a_hair_out(model: CountedModel, images: Images, labels: Labels, ends: Images) -> Images:
    """The ends, a hair further from their images where that fools as well."""
    rows = torch.nonzero(_norm(ends - images) > 0)[:, 0]
    if len(rows) == 0:
        return ends
    clean, delta = images[rows], ends[rows] - images[rows]
    hair = 1 + _HAIR + rounding(_norm(clean)) / _norm(delta)
    further = (clean + delta * rowwise(hair, delta)).clamp(*model.box)
    fools = decided(model.at(rows), further, labels[rows])
    ends[rows] = torch.where(rowwise(fools, ends), further, ends[rows])
    return ends


def _norm(delta: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
    return norm
