"""What APGD climbs: objectives of the scores, each with its gradient and what rounding can do to it.

Knows nothing of images, steps or balls.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tasks.counted import CountedModel
from tasks.metrics import best_other, gap_gradient, slack
from tasks.types import Labels, Scores


class Objective(NamedTuple):
    """Of a batch of scores: the `value` to be raised, (n,), in float64, and what `rounding` can change it by.

    `direction` is its gradient by the scores, (n, classes), times a positive number of each sample's own.
    """

    value: Tensor
    direction: Tensor
    rounding: Tensor


def log_odds(model: CountedModel, scores: Scores, labels: Labels) -> Objective:
    """The head's log-odds against the label, or for the target: they rise with its loss, but do not saturate.

    Where the head's gradient is zero or not finite, the direction is the margin's.
    """
    classes = labels if model.targets is None else model.targets
    own = classes[:, None]
    with torch.enable_grad():
        leaf = scores.double().requires_grad_()
        tracked = model.log_probabilities(leaf)
    # The log-odds and their gradient in the log-probabilities, written out: autograd takes twice as long over them.
    log_probabilities = tracked.detach()
    others = log_probabilities.scatter(1, own, -torch.inf)
    shares, (best, rival) = others.softmax(1), others.max(1, keepdim=True)
    odds = best - shares.gather(1, rival).log_() - log_probabilities.gather(1, own)
    (gradient,) = torch.autograd.grad(tracked, leaf, shares.scatter_(1, own, -1.0))
    largest = gradient.abs().amax(1, keepdim=True)
    gradient.div_(largest)
    usable = ~gradient.isnan().any(1, keepdim=True)  # not where the largest is 0 or infinite
    if scores.is_cuda or not bool(usable.all()):
        margin = gap_gradient(gradient, best_other(scores, classes), classes)
        gradient, largest = torch.where(usable, gradient, margin), torch.where(usable, largest, 0.0)
    value, gradient = (odds, gradient) if model.targets is None else (-odds, -gradient)
    return Objective(value[:, 0], gradient.to(scores.dtype), slack(scores).double().mul_(largest[:, 0]))


def dlr(model: CountedModel, scores: Scores, labels: Labels) -> Objective:
    """The difference of logits ratio: untargeted of Croce and Hein 2020, equation 6; with targets of equation 7.

    Equation 7 has the label's score where this has the best other one, which is the same as long as the label leads.
    """
    if model.targets is None:
        return _ratio(scores, best_other(scores, labels), labels, 3)
    return _ratio(scores, model.targets, best_other(scores, model.targets), 4)


def dlr_towards(scores: Scores, labels: Labels, classes: Labels) -> Objective:
    """The targeted difference of logits ratio, Croce and Hein 2020, equation 7, that lifts `classes` over `labels`."""
    return _ratio(scores, classes, labels, 4)


def _ratio(scores: Scores, ahead: Labels, behind: Labels, needed: int) -> Objective:
    """Score of `ahead` minus that of `behind`, over the spread of the `needed` best scores.

    The spread is the best score minus the mean of the third and the last of the `needed`. Where that is no more than
    rounding, or there are fewer classes, it is taken to be 1.
    """
    wide, rounding = scores.double(), slack(scores).double()
    gap = (wide.gather(1, ahead[:, None]) - wide.gather(1, behind[:, None]))[:, 0]
    direction = gap_gradient(wide, ahead, behind)
    if scores.shape[1] < needed:
        return Objective(gap, direction.to(scores.dtype), 2 * rounding)
    top, order = wide.topk(needed, dim=1)
    weights = wide.new_zeros(needed)
    weights[0] = 1.0
    weights[2] -= 0.5
    weights[-1] -= 0.5
    spread = top @ weights
    tied = spread <= rounding
    spread = spread.masked_fill(tied, 1.0)
    ratio = gap / spread
    slope = ratio.masked_fill(tied, 0.0)
    direction.scatter_add_(1, order, slope[:, None] * -weights)
    steep = slope.abs().add_(1)
    rounding = (2 * rounding).mul_(steep).div_(spread)
    return Objective(ratio, direction.div_(steep[:, None]).to(scores.dtype), rounding)
