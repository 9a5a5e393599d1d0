"""A head that gives most classes the probability zero: the point of the simplex that is nearest to the scores."""

import math

import torch
from torch import Tensor, nn

from tasks.registry import component
from tasks.types import Labels, Scores

_FLOOR = 1e-9
"""Probabilities below it are continued to all scores. Where they are zero, a thousand together make up under 1e-6."""


class SparsemaxHead(nn.Linear):
    """A linear layer whose scores z are projected onto the simplex: p_i = max(z_i - tau, 0), where sum_i p_i = 1."""

    def log_probabilities(self, scores: Scores) -> Tensor:
        """(batch, classes), each row a log-distribution: log p_i, and a finite stand-in where p_i is 0.

        With r_i = z_i - tau it is log r_i down to r_i = f = 1e-9. Below, and so for all classes of probability zero,
        it is log(f^2 / (2f - r_i)), which has the same value and slope at f and keeps falling.
        """
        shifted, threshold, _ = _projection(scores)
        above = shifted - threshold
        likely = above.clamp(min=_FLOOR).log()
        unlikely = 2 * math.log(_FLOOR) - (2 * _FLOOR - above).clamp(min=_FLOOR).log()
        return torch.where(above > _FLOOR, likely, unlikely)

    def losses(self, scores: Scores, labels: Labels) -> Tensor:
        """(batch,), 0 or above up to rounding: 1/2 + 1/2 sum over the support of (z_j^2 - tau^2) - z_k for label k.

        The paper's sparsemax loss. Its gradient in the scores is p - e_k: zero once the label leads by 1 or more.
        """
        shifted, threshold, support = _projection(scores)
        probabilities = torch.where(support, shifted - threshold, 0)
        squares = (probabilities * (shifted + threshold)).sum(dim=1)
        return (squares + 1) / 2 - shifted.gather(1, labels[:, None])[:, 0]


def _projection(scores: Scores) -> tuple[Tensor, Tensor, Tensor]:
    """The scores less each row's largest, the threshold tau on that scale, (batch, 1), and where p_i is not 0.

    Neither probabilities nor losses depend on a common shift, and without it large scores would cancel.
    """
    shifted = scores - scores.detach().amax(dim=1, keepdim=True)
    # Classes that are 1 or more behind have no part in the threshold; what they are would only spoil the sums.
    ordered = shifted.detach().clamp(min=-1).sort(dim=1, descending=True).values
    count = torch.arange(1, scores.shape[1] + 1, dtype=scores.dtype, device=scores.device)
    size = (1 + count * ordered > ordered.cumsum(dim=1)).sum(dim=1, keepdim=True)
    support = shifted.detach() >= ordered.gather(1, size - 1)
    threshold = (torch.where(support, shifted, 0).sum(dim=1, keepdim=True) - 1) / support.sum(dim=1, keepdim=True)
    return shifted, threshold, support


@component("head", version=1, paper="https://arxiv.org/abs/1602.02068")
def sparsemax(width: int, num_classes: int) -> nn.Module:
    """A linear layer and sparsemax: (batch, width) -> (batch, classes).

    Martins and Astudillo (2016): the probabilities are the Euclidean projection of the scores onto the simplex, which
    is exactly zero for classes far behind the first. Trained with the paper's loss, `losses`, which is finite
    everywhere and has the gradient p - e_k.

    An attack sees `log_probabilities`. The paper defines no likelihood of a class of probability zero: there the loss
    of an attack is about 41 + log(tau - z_k), whose gradient has the size of 1 / (tau - z_k): finite, never zero, and
    it still pulls at the label's score and pushes the others'. Where the label leads by 1 or more its probability is
    exactly 1, and the loss and its gradient are exactly zero ("head" gradients); the log-odds that attacks climb by
    default are not, as the stand-ins of the other classes still say how far behind each of them is.
    """
    return SparsemaxHead(width, num_classes)
