"""Candidates of the one-pixel attack: places and colours of a few pixels, how they breed, and how they are painted.

A candidate is (pixels, 2 + channels): rows and columns as shares of height and width, and colours in [0, 1]. Knows
nothing of scores.
"""

import torch
from torch import Tensor

from tasks.counted import CountedModel
from tasks.streams import Streams
from tasks.types import Images


def first_members(streams: Streams, images: Images, population: int, pixels: int) -> Tensor:
    """The first generation, (n, population, pixels, 2 + channels)."""
    places = streams.uniform("places", 0, (population, pixels, 2), images.dtype)
    colours = streams.normal("colours", 0, (population, pixels, images.shape[1]), images.dtype)
    return torch.cat([places, colours.mul_(0.5).add_(0.5).clamp_(0, 1)], dim=3)


def children(members: Tensor, drawn: Tensor) -> Tensor:
    """A child for each member, by numbers in [0, 1), (n, population, 3 + genes)."""
    count = members.shape[1]
    a = (drawn[:, :, 0] * count).long()
    b = (drawn[:, :, 1] * (count - 1)).long()
    b += b >= a
    c = (drawn[:, :, 2] * (count - 2)).long()
    c += c >= torch.minimum(a, b)
    c += c >= torch.maximum(a, b)
    first = torch.arange(len(members), device=members.device)[:, None] * count
    parents = members.flatten(0, 1).index_select(0, (torch.stack([a, b, c]) + first).flatten()).view(3, *members.shape)
    found = torch.add(parents[0], parents[1] - parents[2], alpha=0.5)
    fresh = drawn[:, :, 3:].view_as(found)
    return torch.where((found < 0) | (found > 1), fresh, found)


def decoded(candidates: Tensor, model: CountedModel, images: Images) -> tuple[Tensor, Tensor]:
    """What candidates paint where: pixels and values, both (n, candidates, channels, pixels)."""
    _, channels, height, width = images.shape
    row = (candidates[..., 0] * height).long().clamp_(max=height - 1)
    column = (candidates[..., 1] * width).long().clamp_(max=width - 1)
    places = (row * width + column)[:, :, None].expand(-1, -1, channels, -1)
    colours = candidates[..., 2:].transpose(2, 3).flatten(0, 1)
    return places, model.inputs(colours[..., None])[..., 0].view(places.shape)


def paint(flat: Images, places: Tensor, colours: Tensor) -> None:
    """Write pixels into images, (m, channels, height * width), one after the other: two may share a place."""
    for pixel in range(places.shape[2]):
        flat.scatter_(2, places[:, :, pixel, None], colours[:, :, pixel, None])
