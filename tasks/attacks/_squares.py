"""What the Square Attack proposes: squares of an image written anew, for the linf and for the l2 ball.

Knows nothing of models, queries or what becomes of a proposal. Images are (n, channels, height * width) here, because
squares are index arithmetic on the pixels of a channel.
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from tasks.metrics import Box
from tasks.streams import Streams
from tasks.types import Images, Shape

Plan = tuple[Tensor, ...]
"""What steps are to do: tensors of (steps, n, ...), or for one step of (n, ...)."""


class Change(NamedTuple):
    """Values written into images: `places` are pixels, (n, channels, size); what was there, and what is now."""

    places: Tensor
    old: Tensor
    new: Tensor


class Squares(Protocol):
    """Proposals in one norm. `numbers` is how many uniform numbers one needs."""

    numbers: int

    def side(self, share: float) -> int:
        """The side of the squares that cover `share` of an image."""

    def start(self, clean: Images, streams: Streams, restart: int) -> Images:
        """The first points, flat."""

    def plan(self, drawn: Tensor, side: int) -> Plan:
        """What can be said of steps before they are made, by uniform numbers, (steps, n, numbers)."""

    def propose(self, points: Images, clean: Images, plan: Plan, side: int) -> list[Change]:
        """Write one step's proposals into the points. To be undone in the same order."""


class LinfSquares:
    """A square in which every channel is raised or lowered by eps."""

    def __init__(self, eps: float, box: Box, shape: Shape) -> None:
        self.eps = eps
        self.bounds = box[0].flatten(2), box[1].flatten(2)
        self.shape = shape
        self.numbers = 2 + shape[0]
        self._windows = _Windows(shape)

    def side(self, share: float) -> int:
        """As in the paper's code: that of the nearest area, and at most the image's shorter side."""
        _, height, width = self.shape
        return min(max(round(math.sqrt(share * height * width)), 1), height, width)

    def start(self, clean: Images, streams: Streams, restart: int) -> Images:
        """Vertical stripes, one pixel wide."""
        channels, height, width = self.shape
        drawn = streams.uniform(f"stripes {restart}", 0, (channels, 1, width), clean.dtype)
        moves = self.eps * _signs(drawn).expand(-1, -1, height, -1)
        return (clean + moves.flatten(2)).clamp_(*self.bounds)

    def plan(self, drawn: Tensor, side: int) -> Plan:
        """The squares' corners, and the signs of the channels times eps."""
        return self._windows.corners(drawn, side), self.eps * _signs(drawn[:, :, 2:, None])

    def propose(self, points: Images, clean: Images, plan: Plan, side: int) -> list[Change]:
        """One square. Where it would change nothing, which wastes a query, all its channels go the other way."""
        corners, moves = plan
        places = self._windows.pixels(corners, side)
        old, clean = points.gather(2, places), clean.gather(2, places)
        new = (clean + moves).clamp_(*self.bounds)
        idle = (new == old).flatten(1).all(1)[:, None, None]
        new = torch.where(idle, (clean - moves).clamp_(*self.bounds), new)
        points.scatter_(2, places, new)
        return [Change(places, old, new)]


class L2Squares:
    """A square that gets a bump, paid for by another square that is set back to the image."""

    def __init__(self, eps: float, box: Box, shape: Shape) -> None:
        self.eps = eps
        self.bounds = box[0].flatten(2), box[1].flatten(2)
        self.shape = shape
        self.numbers = 5 + shape[0]
        self._windows = _Windows(shape)
        self._bumps: dict[int, Tensor] = {}
        self._scratch = torch.empty(0)

    def side(self, share: float) -> int:
        """As in the paper's code: odd and at least 3, where the image has room for that."""
        _, height, width = self.shape
        return min(max(round(math.sqrt(share * height * width)) // 2 * 2 + 1, 3), height, width)

    def start(self, clean: Images, streams: Streams, restart: int) -> Images:
        """Tiles of a fifth of the shorter side, each with a bump; of length eps before clipping."""
        channels, height, width = self.shape
        side = max(min(height, width) // 5, 1)
        rows, columns = height // side, width // side
        drawn = streams.uniform(f"tiles {restart}", 0, (channels + 1, rows, columns), clean.dtype)
        bumps = self._bump(drawn[:, -1:], side).view(-1, 1, rows, columns, side, side)
        tiles = bumps * _signs(drawn[:, :-1])[..., None, None]
        delta = clean.new_zeros(len(clean), channels, height, width)
        top, left = (height - rows * side) // 2, (width - columns * side) // 2
        inner = delta[:, :, top : top + rows * side, left : left + columns * side]
        inner.copy_(tiles.transpose(3, 4).reshape(inner.shape))
        delta *= self.eps / math.sqrt(channels * rows * columns)  # every bump has length 1
        self._scratch = torch.empty_like(clean)
        return (clean + delta.flatten(2)).clamp_(*self.bounds)

    def plan(self, drawn: Tensor, side: int) -> Plan:
        """The corners of both squares, and the bumps of length 1 in each channel."""
        bumps = self._bump(drawn[:, :, 4:5], side) * _signs(drawn[:, :, 5:, None])
        return self._windows.corners(drawn, side), self._windows.corners(drawn[:, :, 2:], side), bumps

    def propose(self, points: Images, clean: Images, plan: Plan, side: int) -> list[Change]:
        """The bump is added to what its square has; its length is what both squares had and what is left of eps."""
        near_corners, far_corners, bumps = plan
        near, far = (self._windows.pixels(corners, side) for corners in (near_corners, far_corners))
        whole = torch.sub(points, clean, out=self._scratch[: len(points)])  # new memory would cost more than the work
        spent = torch.linalg.vector_norm(whole, dim=(1, 2), keepdim=True)
        left = (self.eps**2 - spent.square_()).clamp_(min=0) / clean.shape[1]
        near_old, near_clean = points.gather(2, near), clean.gather(2, near)
        points.scatter_(2, near, near_clean)  # what lies in both squares counts once
        far_old, far_clean = points.gather(2, far), clean.gather(2, far)
        points.scatter_(2, far, far_clean)
        delta = near_old - near_clean
        had = _lengths(delta)
        length = left.addcmul(had, had).add_(_lengths(far_old - far_clean).square_()).sqrt_()
        tiny = torch.finfo(clean.dtype).tiny
        bumps = torch.addcdiv(bumps, delta, had.clamp_(min=tiny))
        length /= _lengths(bumps).clamp_(min=tiny)
        new = torch.addcmul(near_clean, bumps, length).clamp_(*self.bounds)
        points.scatter_(2, near, new)
        return [Change(far, far_old, far_clean), Change(near, near_old, new)]

    def _bump(self, drawn: Tensor, side: int) -> Tensor:
        """Upright or turned by each of the `drawn` numbers: (*drawn.shape, side * side)."""
        if side not in self._bumps:
            self._bumps[side] = _bump(side).to(drawn)
        upright, turned = self._bumps[side]
        return torch.where(drawn[..., None] < 0.5, upright, turned)


def _bump(side: int) -> Tensor:
    """The paper's eta: two hills, one up and one down, together of length 1; upright and turned, (2, side * side)."""
    hills = torch.cat([_hill(side // 2, side), -_hill(side - side // 2, side)])
    hills /= hills.norm()
    return torch.stack([hills.flatten(), hills.T.flatten()])


def _hill(height: int, width: int) -> Tensor:
    """Ever larger rectangles around the middle, the k-th 1 / k^2 high, on top of each other: (height, width)."""
    rows = (torch.arange(height) - height // 2).abs()
    columns = (torch.arange(width) - width // 2).abs()
    layers = torch.arange(1, max(height, width) // 2 + 2, dtype=torch.float64) ** -2
    hill = layers.flip(0).cumsum(0).flip(0)[torch.maximum(rows[:, None], columns)]
    unit: Tensor = hill / torch.linalg.vector_norm(hill)
    return unit


class _Windows:
    """Squares of an image of some shape, anywhere in it."""

    def __init__(self, shape: Shape) -> None:
        self.channels, self.height, self.width = shape
        self._inside: dict[int, Tensor] = {}

    def corners(self, drawn: Tensor, side: int) -> Tensor:
        """Their upper left pixels, (steps, n, 1, 1), by two numbers for each."""
        top = (drawn[:, :, 0] * (self.height - side + 1)).long()
        left = (drawn[:, :, 1] * (self.width - side + 1)).long()
        return (top * self.width + left)[:, :, None, None]

    def pixels(self, corners: Tensor, side: int) -> Tensor:
        """All their pixels, (n, channels, side * side), by their corners, (n, 1, 1)."""
        if side not in self._inside:
            offsets = torch.arange(side, device=corners.device)
            self._inside[side] = (offsets[:, None] * self.width + offsets).flatten()
        return (corners + self._inside[side]).expand(-1, self.channels, -1)


def _signs(drawn: Tensor) -> Tensor:
    return torch.where(drawn < 0.5, 1.0, -1.0).to(drawn.dtype)


def _lengths(delta: Tensor) -> Tensor:
    """Of each channel, (n, channels, 1)."""
    lengths: Tensor = torch.linalg.vector_norm(delta, dim=2, keepdim=True)
    return lengths
