"""A conservative head: probabilities fall polynomially with the distance from the class's unit vector."""

from torch import Tensor, nn

from tasks.registry import component
from tasks.types import Scores

_FLOOR = 1e-16
"""The least d^2: its root is closer to a unit vector than the next float32 is to 1."""


class SoftRmaxHead(nn.Linear):
    """A linear layer whose scores z are compared with the unit vectors e_i."""

    def log_probabilities(self, scores: Scores) -> Tensor:
        """(batch, classes), each row a log-distribution: p_i is proportional to 1 / d_i^2, where d_i = |z - e_i|.

        Finite, with finite gradients, on the unit vectors themselves and up to |z| = 1e18 in float32.
        """
        # d_i^2 - d_k^2 = 2 (z_k - z_i), so with k the class of the largest score only d_k, the one distance that can
        # be near 0, is ever computed. Nothing cancels: neither next to e_k, where 1 - p is too small for float32 but
        # its gradient is multiplied by 1 / d_k^2, nor far out, where all the distances round to the same.
        top = scores.argmax(dim=1, keepdim=True)
        lead = scores.gather(1, top)
        others = scores.scatter(1, top, 0).square().sum(dim=1, keepdim=True)
        distance = ((lead - 1).square() + others).clamp(min=_FLOOR)
        excess = (2 * (lead - scores) / distance).scatter(1, top, 0)
        total = (1 + excess).reciprocal().scatter(1, top, 0).sum(dim=1, keepdim=True)
        return -excess.log1p() - total.log1p()


@component("head", version=1, paper="https://arxiv.org/abs/2203.12693")
def softrmax(width: int, num_classes: int) -> nn.Module:
    """A linear layer and softRmax (Wang and Loog 2022): (batch, width) -> (batch, classes).

    The largest score has the largest probability, as in softmax; far from the origin all tend to 1 / classes.
    """
    return SoftRmaxHead(width, num_classes)
