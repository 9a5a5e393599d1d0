"""TRADES: accuracy on clean images traded against how far an adversary can move the prediction."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from tasks.defenses._crafting import ascend, evaluating, full, step_length
from tasks.model import Classifier
from tasks.parameters import Count, NonNegative, Positive
from tasks.registry import component
from tasks.training.objective import Defense, mean_loss
from tasks.types import Images, Labels, Scores

_START = 0.001
"""The standard deviation of what a climb starts with: at the image itself the divergence has no gradient."""


@component(
    "defense",
    version=1,
    paper="https://arxiv.org/abs/1901.08573",
    loss={"beta": (0,)},
    adds_to_loss={"beta": (0,)},
)
def trades(
    *,
    eps: Positive,
    beta: NonNegative = 6.0,
    norm: Literal["linf", "l2"] = "linf",
    steps: Count = 10,
    alpha: Positive | None = None,
) -> Defense:
    """TRADES, https://arxiv.org/abs/1901.08573: L(x, y) + beta KL(F(x) || F(x')), means over the batch.

    Zhang et al. 2019, equation 5; beta is their 1 / lambda. L is the head's own loss and F its probabilities; the
    gradient flows through F(x) and through F(x'). x' is the last of `steps` steps of length `alpha` from
    x + 0.001 N(0, 1), each projected on the eps-ball and on [0, 1]. They go up KL(F(x) || F(x')) itself, as in the
    authors' code, not up the loss of the label; the study of D-ReLU (beta 1 and 6) says no more than "by PGD". `eps`
    and `alpha` are in units of pixels in [0, 1]; `alpha` is 2.5 eps / steps unless given. The scores are those of the
    clean images. With beta 0 this is natural training, and nothing is crafted.

    Deviations: the start is clipped to the ball and to [0, 1]; F(x) is looked at once for all steps, and once in the
    loss. The defense has its own loss: it cannot be combined with another that has.
    """
    if beta == 0:
        return Defense()
    length = step_length(alpha, eps, steps)

    def craft(model: Classifier, images: Images) -> Images:
        with evaluating(model):
            clean = model.log_probabilities(full(model(images))).detach().exp()

        def losses(scores: Scores) -> Tensor:
            # The divergence but for the entropy of F(x), which does not change on the way.
            return -(clean * model.log_probabilities(scores)).sum(1)

        start = torch.randn_like(images).mul_(_START).add_(images)
        return ascend(model, images, start, losses, norm=norm, eps=eps, steps=steps, alpha=length)

    def loss(model: Classifier, images: Images, labels: Labels) -> tuple[Tensor, Scores]:
        crafted = craft(model, images)
        natural, scores = mean_loss(model, images, labels)
        clean, moved = (model.log_probabilities(full(each)) for each in (scores, model(crafted)))
        return natural + beta * kl_div(moved, clean, reduction="batchmean", log_target=True), scores

    return Defense(loss=loss)
