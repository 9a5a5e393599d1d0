"""What an attack climbs, as a direction in a model's scores: that of the log-odds, of the head's loss, or of a score.

Knows nothing of models: how scores become log-probabilities the caller brings.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from tasks.metrics import best_other, gap_gradient
from tasks.types import Labels, Scores

Gradient = Literal["log_odds", "head", "score"]
"""What an attack climbs: see `tasks.counted.CountedModel.ascent`."""


def score_gradient(
    log_probabilities: Callable[[Scores], Tensor], scores: Scores, classes: Labels, sign: int, of: Gradient
) -> Tensor:
    """The direction in the scores, (batch, classes), that lowers the classes' (sign 1) or raises them (sign -1).

    Where the head's own gradient is zero or not finite, the log-odds' is the margin's.
    """
    own = classes[:, None]
    if of != "log_odds":
        leaf = scores.requires_grad_()
        rising = leaf if of == "score" else log_probabilities(leaf)
        (gradient,) = torch.autograd.grad(-sign * rising.gather(1, own).sum(), leaf)
        return gradient
    with torch.enable_grad():
        leaf = scores.double().requires_grad_()
        found = log_probabilities(leaf)
    # The gradient of the log-odds in the log-probabilities, written out: autograd takes twice as long over it.
    shares = found.detach().scatter(1, own, -torch.inf).softmax(1).scatter_(1, own, -1.0)
    (gradient,) = torch.autograd.grad(found, leaf, shares)
    largest = gradient.abs().amax(1, keepdim=True)
    gradient = gradient.div_(sign * largest)
    usable = (largest > 0) & (largest < torch.inf)
    if scores.is_cuda or not bool(usable.all()):
        margin = gap_gradient(gradient, best_other(scores, classes), classes) * sign
        gradient = torch.where(usable, gradient, margin)
    return gradient.to(scores.dtype)
