"""The shortest steps to hyperplanes that stay in a box: exact, for linf and l2, many at once.

Knows nothing of models, classes or of what a hyperplane stands for.
"""

import torch
from torch import Tensor

from tasks.metrics import Box, rowwise
from tasks.types import Images

_LOOK_EVERY = 4


def step_to_hyperplane(points: Images, normal: Tensor, offset: Tensor, box: Box | None, norm: str) -> Tensor:
    """Per sample the shortest step in `norm`, linf or l2, with points + step in the box and <normal, step> = offset.

    `points`, in the box, and `normal`: (n, ...); `offset`: (n,). None is no box. Where the hyperplane does not meet
    the box, the step ends in the box's nearest corner to it: in each value as far as it helps. No step along a normal
    of zeros; and no multiplier above 10 sqrt(values of an image), so that a flat model's steps do not end in infinity.

    The step is min(multiplier * |direction|, room) in every value, where the direction is the normal (linf: its
    signs) and the room ends at the box. The multiplier solves a concave, piecewise linear equation, which Newton's
    method from the left solves exactly: every round finds more values that have no room left, until none is new.
    """
    scale = normal.flatten(1).abs().amax(1).clamp_(min=torch.finfo(normal.dtype).tiny)
    toward = normal * rowwise(offset.sign() / scale, normal)
    needed, most = offset.abs() / scale, 10 * points[:1].numel() ** 0.5
    size = toward.abs()
    speed = size if norm == "l2" else size.sign()
    slope = size * speed
    if box is None:
        multiplier = _over(needed, _total(slope)).clamp_(max=most)
        return speed.mul_(rowwise(multiplier, speed)).copysign_(toward)
    low, high = box
    room = torch.where(toward > 0, high - points, points - low).clamp_(min=0)
    multiplier = _multiplier(needed, slope, size.mul_(room), room, speed, most)
    return torch.minimum(speed.mul_(rowwise(multiplier, speed)), room, out=room).copysign_(toward)


def _multiplier(needed: Tensor, slope: Tensor, gain: Tensor, room: Tensor, speed: Tensor, most: float) -> Tensor:
    """Where the values together gain what is needed, (n,): slope * multiplier while they have room, then `gain`."""
    multiplier = _over(needed, _total(slope)).clamp_(max=most)
    for round_ in range(1, room[:1].numel() + 2):
        before, free = multiplier, room > speed * rowwise(multiplier, speed)
        left = needed - _total(gain.masked_fill(free, 0))
        multiplier = torch.maximum(before, _over(left, _total(slope.masked_fill(~free, 0))).clamp_(max=most))
        # A row whose free values are the same as before has the same multiplier, bit for bit: it just waits.
        if round_ % _LOOK_EVERY == 0 and not bool((multiplier > before).any()):
            break
    return multiplier


def _over(needed: Tensor, slope: Tensor) -> Tensor:
    """needed / slope, never NaN; infinite where there is no slope."""
    return needed / slope.clamp(min=torch.finfo(slope.dtype).tiny)


def _total(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1)
