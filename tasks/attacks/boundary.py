"""The Boundary Attack: a random walk along the decision boundary, towards the image, on decisions alone."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tasks.config import Budget
from tasks.metrics import Box, CountedModel, rowwise
from tasks.parameters import Count, Positive
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


_RULES = {
    "published": _Rule(10, _Window(100, 0.2, 0.5), _Window(30, 0.1, 0.25), coarsest=0),
    "corrected": _Rule(5, _Window(10, 0.2, 0.5), _Window(5, 0.1, 0.25), coarsest=4),
}
_HAIR = 1e-4
"""How much further out, relatively, a final point is put, so that rounding in another batch shape cannot undo it."""


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1712.04248",
    norms=("l2",),
    budget="minimal",
    knowledge="decision",
)
def boundary(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,  # noqa: ARG001 - part of every attack's contract; box and space come with the model
    streams: Streams,
    *,
    steps: Count = 25000,
    spherical_step: Positive = 0.01,
    source_step: Positive = 0.01,
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
    `init_steps` equal parts; where there is none, NaN comes back.

    The published variant has the rule of the softRmax thesis, Ingendaa 2024: a check every 10 steps, windows of
    100 checks for the sphere and 30 for the source step. The corrected one checks every 5 steps with windows of 10
    and 5, which needs less than half the steps, and draws ever coarser noise, which fools models that see
    fine noise as one class.
    """
    rule = _RULES[variant]
    with torch.no_grad():
        ends = _start(model, images, labels, streams, blends=init_steps, tries=init_tries, coarsest=rule.coarsest)
        taken = torch.zeros_like(labels)
        walk = _begin(ends, images, labels, rule, spherical_step, source_step)
        for first in range(0, steps, rule.check_every):
            block = range(first, min(first + rule.check_every, steps))
            view = model.at(walk.rows)
            for step, noise in _noises(streams.at(walk.rows), block, images):
                around = _advance(view, walk, noise)
                if (step + 1) % rule.check_every == 0:
                    _adapt(view, walk, around, rule, adaptation)
            taken[walk.rows] = block.stop
            ends[walk.rows] = walk.points
            walk = walk.only(torch.nonzero(walk.source_step >= convergence)[:, 0])
            if len(walk.rows) == 0:
                break
        return _a_hair_out(model, images, labels, ends), taken


@dataclass
class _Walk:
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

    def only(self, going: Rows) -> "_Walk":
        """The walk of some of these samples."""
        if len(going) == len(self.rows):
            return self
        return _Walk(*(getattr(self, field.name)[going] for field in fields(self)))


def _begin(
    ends: Images, images: Images, labels: Labels, rule: _Rule, spherical_step: float, source_step: float
) -> _Walk:
    """The walk of the samples that have a start."""
    rows = torch.nonzero(ends.isfinite().flatten(1).all(1))[:, 0]
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


def _noises(streams: Streams, block: range, images: Images) -> Iterator[tuple[int, Tensor]]:
    """Each step of a block with its normal numbers, (n, ...): as many steps drawn at once as pays on the device."""
    size = max(1, len(streams) * images[0].numel())
    at_once = max(1, (1 << 24 if images.is_cuda else 1 << 17) // size)
    for first in range(block.start, block.stop, at_once):
        steps = range(first, min(first + at_once, block.stop))
        yield from zip(steps, streams.normal("direction", steps, tuple(images.shape[1:]), images.dtype), strict=True)


def _advance(model: CountedModel, walk: _Walk, noise: Tensor) -> Images:
    """Propose a step for every sample and take those that fool and come closer; the points on the sphere."""
    around, proposed = _propose(walk, noise, model.box)
    walk.fools = model(proposed).argmax(1) != walk.labels
    distance = _norm(proposed - walk.images)
    taken = walk.fools & (distance < walk.distance)
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


def _propose(walk: _Walk, noise: Tensor, box: Box) -> tuple[Images, Images]:
    """A point on the sphere around each image, in a random direction, and the point a step closer from there."""
    tiny = torch.finfo(noise.dtype).tiny
    inward = walk.images - walk.points
    along = (noise * inward).flatten(1).sum(1) / walk.distance.square()
    noise = torch.addcmul(noise, inward, rowwise(-along, noise))
    length = walk.spherical_step * walk.distance / _norm(noise).clamp(min=tiny)
    outward = torch.addcmul(-inward, noise, rowwise(length, noise))
    shrink = (walk.spherical_step.square() + 1).rsqrt()
    around = torch.addcmul(walk.images, outward, rowwise(shrink, noise)).clamp(*box)
    inward = walk.images - around
    reach = _norm(inward)
    step = (walk.source_step * walk.distance + reach - walk.distance).clamp(min=0) / reach.clamp(min=tiny)
    return around, torch.addcmul(around, inward, rowwise(step, inward)).clamp(*box)


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


def _start(
    model: CountedModel, images: Images, labels: Labels, streams: Streams, *, blends: int, tries: int, coarsest: int
) -> Images:
    """The first blend of each image with noise that fools, in equal parts towards the noise; NaN without any."""
    noise = torch.full_like(images, torch.nan)
    low, high = _range(model.box, images)
    rows = torch.arange(len(labels), device=labels.device)
    for attempt in range(tries):
        drawn = _grainy(streams.at(rows), attempt, images, 2 ** (attempt % (coarsest + 1)))
        drawn = torch.lerp(low[rows], high[rows], drawn)
        fools = model.at(rows)(drawn).argmax(1) != labels[rows]
        noise[rows[fools]] = drawn[fools]
        rows = rows[~fools]
        if len(rows) == 0:
            break
    found = noise.clone()
    rows = torch.nonzero(noise.isfinite().flatten(1).all(1))[:, 0]
    for part in range(1, blends):
        if len(rows) == 0:
            break
        blend = torch.lerp(images[rows], noise[rows], part / blends)
        fools = model.at(rows)(blend).argmax(1) != labels[rows]
        found[rows[fools]] = blend[fools]
        rows = rows[~fools]
    return found


def _grainy(streams: Streams, attempt: int, images: Images, grain: int) -> Images:
    """Uniform noise in [0, 1), constant over squares of `grain` pixels."""
    channels, height, width = images.shape[1:]
    size = (channels, -(-height // grain), -(-width // grain))
    drawn = streams.uniform("start", attempt, size, images.dtype)
    return drawn.repeat_interleave(grain, 2).repeat_interleave(grain, 3)[:, :, :height, :width]


def _range(box: Box, images: Images) -> tuple[Tensor, Tensor]:
    """The values that noise may take, (n, channels, 1, 1): the box's, or without one each image's own."""
    low, high = (end.expand(len(images), images.shape[1], 1, 1) for end in box)
    own = images.flatten(1)
    low = torch.where(low.isfinite(), low, rowwise(own.amin(1), images))
    return low, torch.where(high.isfinite(), high, rowwise(own.amax(1), images))


def _a_hair_out(model: CountedModel, images: Images, labels: Labels, ends: Images) -> Images:
    """The ends, a hair further from their images where that fools as well."""
    rows = torch.nonzero(ends.isfinite().flatten(1).all(1))[:, 0]
    if len(rows) == 0:
        return ends
    further = torch.lerp(images[rows], ends[rows], 1 + _HAIR).clamp(*model.box)
    fools = model.at(rows)(further).argmax(1) != labels[rows]
    ends[rows] = torch.where(rowwise(fools, ends), further, ends[rows])
    return ends


def _norm(delta: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
    return norm
