"""Monotone conservative softmax: probabilities grow linearly, not exponentially, with large scores."""

import torch
from torch import Tensor, nn

from tasks.registry import component
from tasks.types import Scores


class ConsHead(nn.Linear):
    """A linear layer whose scores z are turned into u = z + sqrt(1 + z^2) > 0."""

    def log_probabilities(self, scores: Scores) -> Tensor:
        """(batch, classes), each row a log-distribution: p_i = u_i / sum_j u_j.

        log u = asinh(z), which does not cancel for z far below 0 as the sum does.
        """
        return torch.log_softmax(torch.asinh(scores), dim=1)


@component("head", version=1, paper="https://github.com/ziqiwangsilvia/attack")
def cons(width: int, num_classes: int) -> nn.Module:
    """A linear layer and conservative softmax: (batch, width) -> (batch, classes).

    The head of the substitute networks of the softRmax thesis (Ingendaa 2024).
    """
    return ConsHead(width, num_classes)
