"""How likely a model holds the label, or anything but the target, on a scale that has no end.

Knows nothing of images or of what is done with it.
"""

import torch
from torch import Tensor

from tasks.counted import CountedModel
from tasks.types import Labels, Scores


def log_odds(model: CountedModel, scores: Scores, labels: Labels) -> Tensor:
    """The log-odds of the label, or of not the target, (batch,), in float64: what an attack lowers.

    They order points as the probability does, but do not end where that is 1 as far as the type can tell.
    """
    classes, sign = (labels, 1) if model.targets is None else (model.targets, -1)
    log_probabilities = model.log_probabilities(scores.double())
    others = log_probabilities.scatter(1, classes[:, None], -torch.inf).logsumexp(1)
    return sign * (log_probabilities.gather(1, classes[:, None])[:, 0] - others)
