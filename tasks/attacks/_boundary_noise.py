"""The noise of the Boundary Attack: what its walks start from, and the directions they try.

Knows nothing of step lengths or of when a walk is done.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tasks.counted import CountedModel
from tasks.metrics import Box, rowwise
from tasks.streams import Streams
from tasks.types import Images, Labels


def start(
    model: CountedModel, images: Images, labels: Labels, streams: Streams, *, blends: int, tries: int, coarsest: int
) -> Images:
    """The first blend of each image with noise that fools, in equal parts from the image on; NaN without any."""
    fools = decided(model, images, labels)
    noise = torch.where(rowwise(fools, images), images, torch.nan)
    low, high = _range(model.box, images)
    rows = torch.nonzero(~fools)[:, 0]
    for attempt in range(tries):
        if len(rows) == 0:
            break
        drawn = _grainy(streams.at(rows), attempt, images, 2 ** (attempt % (coarsest + 1)))
        drawn = torch.lerp(low[rows], high[rows], drawn)
        fools = decided(model.at(rows), drawn, labels[rows])
        noise[rows[fools]] = drawn[fools]
        rows = rows[~fools]
    found = noise.clone()
    rows = torch.nonzero((noise != images).flatten(1).any(1) & noise.isfinite().flatten(1).all(1))[:, 0]
    for part in range(1, blends):
        if len(rows) == 0:
            break
        blend = torch.lerp(images[rows], noise[rows], part / blends)
        fools = decided(model.at(rows), blend, labels[rows])
        found[rows[fools]] = blend[fools]
        rows = rows[~fools]
    return found


def decided(model: CountedModel, points: Images, labels: Labels) -> Tensor:
    """Whether the model decides against the labels, (n,), and can be believed."""
    return model.confirmed(points, labels, model(points).argmax(1) != labels)


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


class Smoother(NamedTuple):
    """Matrices that interpolate linearly between coarse columns, (height, few), and coarse rows, (few, width)."""

    columns: Tensor
    rows: Tensor


def smoother(images: Images, grain: int) -> Smoother:
    """From noise whose grains are so many pixels wide to noise of the size of the images."""
    columns, rows = (
        nn.functional.interpolate(torch.eye(-(-size // grain)).to(images)[None], size=size, mode="linear")[0]
        for size in images.shape[2:]
    )
    return Smoother(columns.T, rows)


def directions(streams: Streams, block: range, images: Images, smooth: Smoother) -> Iterator[tuple[int, Tensor]]:
    """Each step of a block with its normal numbers, (n, ...): as many steps drawn at once as pays on the device."""
    shape = images.shape[1], smooth.columns.shape[1], smooth.rows.shape[0]
    at_once = max(1, (1 << 24 if images.is_cuda else 1 << 17) // max(1, len(streams) * math.prod(shape)))
    for first in range(block.start, block.stop, at_once):
        steps = range(first, min(first + at_once, block.stop))
        for step, noise in zip(steps, streams.normal("direction", steps, shape, images.dtype), strict=True):
            yield step, noise if shape == images.shape[1:] else smooth.columns @ noise @ smooth.rows
