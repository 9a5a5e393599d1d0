"""Adversarial training with projected gradient descent."""

from typing import Literal

from tasks.defenses._crafting import adversarial, pgd, step_length
from tasks.model import Classifier
from tasks.parameters import Count, Positive, Share
from tasks.registry import component
from tasks.training.objective import Defense
from tasks.types import Images, Labels


@component(
    "defense",
    version=1,
    paper="https://arxiv.org/abs/1706.06083",
    loss={"clean": (0, 1)},
    adds_to_loss={"clean": (1,)},
)
def pgd_training(
    *,
    eps: Positive,
    norm: Literal["linf", "l2"] = "linf",
    steps: Count = 10,
    alpha: Positive | None = None,
    random_start: bool = True,
    clean: Share = 0.0,
) -> Defense:
    """PGD training, https://arxiv.org/abs/1706.06083: on what `steps` steps up the loss make of each image.

    Madry et al. 2018, section 2.1: min over weights of the mean of max over |d| <= eps of L(x + d, y), where L is the
    head's own loss and the maximum is approached by steps of length `alpha` from a point drawn uniformly from the ball
    (or, without `random_start`, from x), each projected on the ball and on [0, 1]. The last point is trained on. `eps`
    and `alpha` are in units of pixels in [0, 1]; `alpha` is 2.5 eps / steps unless given. The loss is clean * L(x, y) +
    (1 - clean) * L(x', y).

    Published: eps 8/255, alpha 0.007, 20 steps for stochastic winner-takes-all networks; eps 0.1, alpha 0.01, 10 steps
    for the capped rectifiers of D-ReLU, after natural training.

    Deviations: the images are crafted in evaluation mode, so that neither dropout nor the statistics of a batch
    normalisation take part in it. With a `clean` above 0 the defense has its own loss: it cannot be combined with
    another that has.
    """
    length = step_length(alpha, eps, steps)

    def craft(model: Classifier, images: Images, labels: Labels) -> Images:
        return pgd(model, images, labels, norm=norm, eps=eps, steps=steps, alpha=length, random_start=random_start)

    return adversarial(craft, clean)
