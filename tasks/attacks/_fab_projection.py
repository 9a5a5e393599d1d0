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
    the box, every value goes as far as it helps. There is no step along a normal of zeros, and without a box none of
    more than 10 in any value, so that a flat model's steps do not end in infinity.

    The step is min(multiplier * |direction|, room) in every value, where the direction is the normal (linf: its
    signs) and the room ends at the box. The multiplier solves a concave, piecewise linear equation, which Newton's
    method from the left solves exactly: every round finds more values that have no room left, until none is new.
    """
    scale = normal.flatten(1).abs().amax(1).clamp_(min=torch.finfo(normal.dtype).tiny)
    toward = normal * rowwise(offset.sign() / scale, normal)
    needed = offset.abs() / scale
    size, sign = toward.abs(), toward.sign()
    speed = size if norm == "l2" else sign.abs()
    slope = size * speed
    if box is None:
        multiplier = _over(needed, _total(slope)).clamp_(max=10.0)
        return sign.mul_(speed).mul_(rowwise(multiplier, sign))
    low, high = box
    end = torch.addcmul((low + high) / 2, sign, (high - low) / 2)
    room = end.sub_(points).mul_(sign).clamp_(min=0)
    multiplier = _multiplier(needed, slope, size * room, room, speed)
    return torch.minimum(speed * rowwise(multiplier, speed), room, out=room).mul_(sign)


def _multiplier(needed: Tensor, slope: Tensor, gain: Tensor, room: Tensor, speed: Tensor) -> Tensor:
    """Where the values together gain what is needed, (n,): slope * multiplier while they have room, then `gain`."""
    multiplier = _over(needed, _total(slope))
    free, work = torch.empty_like(room), torch.empty_like(room)
    for round_ in range(1, room[:1].numel() + 2):
        before = multiplier
        # Weights of 0 and 1 instead of choices: five times as fast.
        torch.addcmul(room, speed, rowwise(multiplier, speed), value=-1, out=free).sign_().clamp_(min=0)
        rest = _total(torch.mul(slope, free, out=work))
        left = needed - _total(torch.addcmul(gain, gain, free, value=-1, out=work))
        multiplier = torch.maximum(before, _over(left, rest))
        # A row whose free values are the same as before has the same multiplier, bit for bit: it just waits.
        if round_ % _LOOK_EVERY == 0 and not bool((multiplier > before).any()):
            break
    return multiplier


def _over(needed: Tensor, slope: Tensor) -> Tensor:
    """What multiplier gains what is needed: huge, but finite, where there is no slope."""
    return (needed / slope.clamp(min=torch.finfo(slope.dtype).tiny)).clamp_(max=1e30)


def _total(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1)
