"""A head whose probabilities come from the second-order Taylor polynomial of the exponential."""

import torch
from torch import Tensor, nn

from tasks.registry import component
from tasks.types import Scores


class TaylorSoftmaxHead(nn.Linear):
    """A linear layer whose outputs z become the scores |1 + z|, the largest of which is the likeliest class."""

    def forward(self, features: Tensor) -> Scores:
        """(batch, width) -> (batch, classes), none below 0."""
        # The numerator, ((1 + z)^2 + 1) / 2, grows again for z below -1, so z itself would not do as a score.
        return (1 + super().forward(features)).abs()

    def log_probabilities(self, scores: Scores) -> Tensor:
        """(batch, classes), each row a log-distribution: p_i is proportional to 1 + s_i^2, where s are the scores.

        Finite, with finite gradients, for all finite scores: nothing is squared.
        """
        return torch.log_softmax(2 * torch.hypot(scores, torch.ones_like(scores)).log(), dim=1)


@component("head", version=1, paper="https://arxiv.org/abs/1511.05042")
def taylor_softmax(width: int, num_classes: int) -> nn.Module:
    """A linear layer and Taylor softmax: (batch, width) -> (batch, classes).

    De Brebisson and Vincent (2016): p_i = (1 + z_i + z_i^2 / 2) / sum_j (1 + z_j + z_j^2 / 2), with z of the linear
    layer. This is not monotone: an output far below -1 makes a class likely. Predictions, margins and attacks on
    scores therefore see s = |1 + z|, whose order is that of the probabilities. Only s is kept, so the probabilities
    are computed as (1 + s_i^2) / sum_j (1 + s_j^2), which are the same.
    """
    return TaylorSoftmaxHead(width, num_classes)
