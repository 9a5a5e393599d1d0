"""A conservative head: probabilities fall polynomially with the distance from the class's unit vector."""

import torch
from torch import Tensor, nn

from tasks.registry import component
from tasks.types import Scores

_FLOOR = 1e-20


class SoftRmaxHead(nn.Linear):
    """A linear layer whose scores z are compared with the unit vectors e_i."""

    others: Tensor

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__(width, num_classes)
        self.register_buffer("others", 1 - torch.eye(num_classes), persistent=False)

    def log_probabilities(self, scores: Scores) -> Tensor:
        """(batch, classes), each row a log-distribution: p_i is proportional to 1 / d_i^2, where d_i = |z - e_i|.

        Finite, with finite gradients, on the unit vectors themselves and up to |z| = 1e18 in float32.
        """
        squares = scores.square()
        # p is the same for any common factor of the distances. This one makes d_i^2 = 1 - closeness, which keeps full
        # precision far out, where every d_i^2 rounds to |z|^2 and gradients would be differences of rounding errors.
        scale = squares.sum(dim=1, keepdim=True) + 1
        closeness = 2 * scores / scale
        far = torch.log1p(-closeness.clamp(max=0.5))
        # Near e_i the same difference cancels, and a sum of squares does not.
        distances = (scores - 1).square() + squares @ self.others.to(scores)
        near = (distances / scale).clamp(min=_FLOOR).log()
        return torch.log_softmax(-torch.where(closeness > 0.5, near, far), dim=1)


@component("head", version=1, paper="https://arxiv.org/abs/2203.12693")
def softrmax(width: int, num_classes: int) -> nn.Module:
    """A linear layer and softRmax (Wang and Loog 2022): (batch, width) -> (batch, classes).

    The largest score has the largest probability, as in softmax; far from the origin all tend to 1 / classes.
    """
    return SoftRmaxHead(width, num_classes)
