"""The standard head: probabilities grow exponentially with the scores."""

import torch
from torch import Tensor, nn

from tasks.registry import component
from tasks.types import Scores


class SoftmaxHead(nn.Linear):
    """A linear layer whose scores are logits."""

    def log_probabilities(self, scores: Scores) -> Tensor:
        """(batch, classes), each row a log-distribution: log p_i = z_i - log sum_j exp(z_j)."""
        return torch.log_softmax(scores, dim=1)


@component("head", version=1, paper="https://doi.org/10.1007/978-3-642-76153-9_28")
def softmax(width: int, num_classes: int) -> nn.Module:
    """A linear layer and softmax: (batch, width) -> (batch, classes)."""
    return SoftmaxHead(width, num_classes)
