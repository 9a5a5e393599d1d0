"""Where the boundary to another class is: the nearest one of the linearised model, and the one before a fooling point.

Of a model that draws, also where beyond the boundary a point is one that can be believed.

Knows nothing of steps, norms or boxes: the caller says how steep a gradient is, and what the points of a ray are.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from tasks.counted import CountedModel
from tasks.metrics import gap_gradient, rowwise
from tasks.types import Images, Labels, Scores

_NARROWINGS = 5
"""Evaluations that `drawn_back` spends."""
_BESIDE = 1 + 1e-4
"""How close to the boundary it may end: on it, rounding would decide what the model says."""


_OUTWARDS = (1.0, 1.02, 1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0)
"""Where on its ray a point is tried, as shares of its own distance, until independent looks agree that it fools."""


class Boundary(NamedTuple):
    """The nearest boundary of each sample: the way there, the gap, its slope, (n,), and the gradient, (n, ...).

    Where every way is infinite, gap and gradient are 0. `all_slopes`, (n, k), are those of all boundaries looked at.
    """

    ways: Tensor
    gaps: Tensor
    slopes: Tensor
    gradients: Tensor
    all_slopes: Tensor


def straight(gaps: Tensor, slopes: Tensor) -> Tensor:
    """The length of a straight way over a gap."""
    return gaps.abs() / slopes


def nearest(
    points: Images,
    scores: Scores,
    rising: Labels,
    falling: Labels,
    gaps: Tensor,
    slope_of: Callable[[Tensor], Tensor],
    way_of: Callable[[Tensor, Tensor], Tensor] = straight,
) -> Boundary:
    """Of boundaries where a class of `rising`, (n, k), draws level with that of `falling`, (n,), the nearest.

    `scores` are those of `points` and have a graph, which is used up by k backwards. `gaps`, (n, k), are what a class
    lacks; `slope_of` measures its gradient, and `way_of` the way over a gap of some slope. Of equal ways the first
    counts.
    """
    gap = torch.zeros_like(gaps[:, 0])
    way, slope, gradient = torch.full_like(gap, torch.inf), torch.ones_like(gap), torch.zeros_like(points)
    all_slopes = torch.empty_like(gaps)
    for place in range(gaps.shape[1]):
        ahead = gap_gradient(scores.detach(), rising[:, place], falling)
        (seen,) = torch.autograd.grad(scores, points, ahead, retain_graph=place + 1 < gaps.shape[1])
        steepness = all_slopes[:, place] = slope_of(seen)
        length = way_of(gaps[:, place], steepness)
        nearer = length < way
        way, slope = torch.where(nearer, length, way), torch.where(nearer, steepness, slope)
        gap = torch.where(nearer, gaps[:, place], gap)
        # With weights of 0 and 1 this is exact, and much faster than a choice between two tensors.
        gradient.lerp_(seen, rowwise(nearer.to(gradient.dtype), gradient))
    return Boundary(way, gap, slope, gradient, all_slopes)


def false_position(
    look: Callable[[Tensor], tuple[Tensor, Tensor]], at_image: Tensor, at_point: Tensor, looks: int
) -> Tensor:
    """What share of the way from the image to a fooling point, (n,), is enough: the smallest looked at that fools.

    `look` takes shares and returns the margins there, and whether they fool; `at_image` and `at_point` are the margins
    at the ends. A look goes a little beyond the place where the margin would be 0 if it fell evenly.
    """
    near, far = torch.zeros_like(at_point), torch.ones_like(at_point)
    tiny = torch.finfo(at_point.dtype).tiny
    for _ in range(looks):
        # Of a model that draws, looks may disagree with the margins that others saw at the ends.
        at_image, at_point = at_image.clamp(min=0), at_point.clamp(max=0)
        root = near + (far - near) * at_image / (at_image - at_point).clamp(min=tiny)
        share = torch.maximum(root + 0.1 * (far - root), root * _BESIDE).minimum(far)
        margin, fools = look(share)
        far, at_point = torch.where(fools, share, far), torch.where(fools, margin, at_point)
        near, at_image = torch.where(fools, near, share), torch.where(fools, at_image, margin)
    return far


def drawn_back(
    model: CountedModel, images: Images, labels: Labels, points: Images, margins: Tensor, first_margins: Tensor
) -> Images:
    """Fooling points, in the box, closer to their images along the rays.

    `margins` are those of the points, `first_margins` those of the images. Costs five forwards.
    """

    def on_ray(share: Tensor) -> Images:
        return torch.lerp(images, points, rowwise(share, images)).clamp(*model.box)

    def look(share: Tensor) -> tuple[Tensor, Tensor]:
        points = on_ray(share)
        with torch.no_grad():
            margin, fools = model.standing(model(points), labels)
        return margin, model.confirmed(points, labels, fools)

    return on_ray(false_position(look, first_margins, margins, _NARROWINGS))


def believed(model: CountedModel, points: Images, labels: Labels, fools: Tensor, wanted: Tensor) -> Tensor:
    """Whether points fool, (n,): of those that would be kept, the `wanted` ones, only if that can be believed."""
    return torch.where(wanted, model.confirmed(points, labels, fools & wanted), fools)


def settled(model: CountedModel, images: Images, labels: Labels, points: Images) -> Images:
    """What an attack returns, (n, ...): of a model that draws, points that fool also where nobody has chosen the looks.

    A search looks at many points and keeps the one that its looks were luckiest with, so it is looked at once more, and
    put outwards on its ray from the image, in the box, until all looks agree; if that is nowhere, it stays. Points that
    are NaN, or the image itself, are left alone. Any other model's points come back as they are.
    """
    if not model.is_wavering:
        return points
    found = points.clone()
    rows = torch.nonzero((points != images).flatten(1).any(1) & points.isfinite().flatten(1).all(1))[:, 0]
    for share in _OUTWARDS:
        if len(rows) == 0:
            break
        tried = torch.lerp(images[rows], points[rows], share).clamp(*model.box)
        agree = model.at(rows).confirmed(tried, labels[rows], torch.ones_like(rows, dtype=torch.bool))
        found[rows[agree]] = tried[agree]
        rows = rows[~agree]
    return found
