"""Random numbers that belong to a sample: counter-based streams (Philox4x32-10, Salmon et al. 2011).

A draw is a pure function of (key, purpose, step, sample, target), so batch size, shard, order, retries and workers
change none. https://doi.org/10.1145/2063384.2063405

Knows nothing of attacks or of torch's own generators: nothing here has a state, and nothing is seeded globally.
"""

import hashlib
import math
from typing import Literal

import torch
from torch import Tensor

from tasks.types import Rows

_LOW = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_UNIT = 2.0**-32
_ORDER_KEY = (0x6F726465, 0x72000001)
"""Never to change: it is the order in which every split is sampled."""

Words = tuple[Tensor, Tensor, Tensor, Tensor]
Step = int | range | Tensor
"""A step, several steps drawn at once, or a step for each row, (n,) int64."""


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Philox4x32-10: four 32-bit words for each counter of four 32-bit words.

    Words are int64 tensors of any shapes that broadcast, with values in 0..2^32-1. The first rounds run on the
    unbroadcast shapes, which saves a quarter of the work where counters form a grid.
    """
    w0, w1, w2, w3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # int64 products wrap, which leaves all 64 bits right; the masks undo the sign of the upper half.
        p0, p2 = w0 * _MULTIPLIERS[0], w2 * _MULTIPLIERS[1]
        w0, w2 = _mix(p2, w1, k0), _mix(p0, w3, k1)
        w1, w3 = p2, p0
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return w0, w1 & _LOW, w2, w3 & _LOW


def _mix(product: Tensor, word: Tensor, key: int) -> Tensor:
    upper = (product >> 32) ^ word
    upper ^= key
    upper &= _LOW
    return upper


class Streams:
    """The streams of a batch of samples: one row each.

    `key` names the case; `samples` are indices in the split's fixed order, (n,) int64; `targets` are classes,
    (n,) int64, or None for an untargeted attack. Draws come on the device of `samples`.
    """

    def __init__(self, key: str, samples: Tensor, targets: Tensor | None = None) -> None:
        self.key = key
        self.samples = samples
        self.targets = targets

    def __len__(self) -> int:
        return len(self.samples)

    def at(self, rows: Rows) -> "Streams":
        """The streams of some rows of this batch, in the order of `rows`."""
        targets = None if self.targets is None else self.targets[rows]
        return Streams(self.key, self.samples[rows], targets)

    def uniform(self, purpose: str, step: Step, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Numbers in [0, 1): (n, *shape), or (steps, n, *shape) for a range of steps drawn at once.

        Steps drawn at once, or one for each row, give exactly what they give one by one. Multiples of
        2^-24 in float32, of 2^-32 in float64.
        """
        words = self._words(purpose, step, math.prod(shape))
        drawn = torch.empty(*words[0].shape[:2], 4, words[0].shape[2], dtype=dtype, device=self.samples.device)
        for place, word in enumerate(words):
            # The upper 24 bits are all that float32 holds: rounding a larger integer could give 1.
            drawn[:, :, place] = word if dtype == torch.float64 else word >> 8
        return self._shaped(drawn.mul_(_UNIT if dtype == torch.float64 else 2.0**-24), step, shape)

    def normal(self, purpose: str, step: Step, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Standard normal numbers by Box and Muller: (n, *shape), or (steps, n, *shape) for a range of steps."""
        words = self._words(purpose, step, math.prod(shape))
        drawn = torch.empty(*words[0].shape[:2], 4, words[0].shape[2], dtype=dtype, device=self.samples.device)
        for place in (0, 2):
            radius = words[place].to(dtype).add_(0.5).mul_(_UNIT).log_().mul_(-2).sqrt_()
            angle = words[place + 1].to(dtype).mul_(2 * math.pi * _UNIT)
            torch.mul(radius, angle.cos(), out=drawn[:, :, place])
            torch.mul(radius, angle.sin_(), out=drawn[:, :, place + 1])
        return self._shaped(drawn, step, shape)

    def _words(self, purpose: str, step: Step, size: int) -> Words:
        """Counter words (block, step, sample, target + 1) on a grid of (steps, n, blocks)."""
        device = self.samples.device
        blocks = torch.arange(-(-size // 4), device=device).view(1, 1, -1)
        counted = _counted(step, device)
        targets = torch.zeros_like(self.samples) if self.targets is None else self.targets + 1
        digest = hashlib.sha256(f"{self.key}/{purpose}".encode()).digest()
        key = int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")
        return philox((blocks, counted, self.samples.view(1, -1, 1), targets.view(1, -1, 1)), key)

    def _shaped(self, drawn: Tensor, step: Step, shape: tuple[int, ...]) -> Tensor:
        flat = drawn.flatten(2)[:, :, : math.prod(shape)]
        leading = (len(step), len(self)) if isinstance(step, range) else (len(self),)
        return flat.reshape(*leading, *shape)


def _counted(step: Step, device: torch.device) -> Tensor:
    """The counter words of steps, (steps, 1 or n, 1)."""
    if isinstance(step, Tensor):
        return step.view(1, -1, 1)
    steps = step if isinstance(step, range) else range(step, step + 1)
    return torch.arange(steps.start, steps.stop, steps.step, device=device).view(-1, 1, 1)


def sample_order(count: int, order: Literal["shuffled", "natural"]) -> Tensor:
    """The order in which a split of `count` images is sampled, for ever: a permutation, (count,) int64.

    "shuffled" sorts by the random words of each index, 64 bits with ties kept in order; "natural" is 0, 1, 2, ...
    """
    natural = torch.arange(count)
    if order == "natural":
        return natural
    zero = torch.zeros_like(natural)
    upper, lower, _, _ = philox((natural, zero, zero, zero), _ORDER_KEY)
    by_lower = torch.argsort(lower, stable=True)
    return by_lower[torch.argsort(upper[by_lower], stable=True)]
