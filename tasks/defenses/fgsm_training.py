"""Adversarial training with the fast gradient sign method: one extra pass for each batch."""

from tasks.defenses._crafting import adversarial, fgsm, pgd
from tasks.model import Classifier
from tasks.parameters import Positive, Share
from tasks.registry import component
from tasks.training.objective import Defense
from tasks.types import Images, Labels


@component(
    "defense",
    version=1,
    paper="https://arxiv.org/abs/1412.6572",
    loss={"clean": (0, 1)},
    adds_to_loss={"clean": (1,)},
)
def fgsm_training(
    *, eps: Positive, random_start: bool = False, alpha: Positive | None = None, clean: Share = 0.0
) -> Defense:
    """FGSM training, https://arxiv.org/abs/1412.6572: on x + eps sign(gradient of the loss) in place of x.

    Goodfellow et al. 2015, section 6: clean * L(x, y) + (1 - clean) * L(x + eps sign(grad L), y), where L is the mean
    of the head's own losses; the paper has clean: 0.5. `eps` and `alpha`, the length of the step, are in units of
    pixels in [0, 1], linf. `alpha` is eps unless given, and a longer step ends at eps.

    With `random_start` the step is made from a point drawn uniformly from the ball, and `alpha` is 1.25 eps unless
    given: Wong, Rice and Kolter 2020, https://arxiv.org/abs/2001.03994, algorithm 3. Their fast training is meant
    with clean: 0.

    Deviations: images are clipped to [0, 1]; the step is crafted in evaluation mode, so that neither dropout nor the
    statistics of a batch normalisation take part in it; the gradient does not flow through it. With a `clean` above 0
    the defense has its own loss: it cannot be combined with another that has.
    """
    length = alpha or (1.25 * eps if random_start else eps)

    def craft(model: Classifier, images: Images, labels: Labels) -> Images:
        if random_start:
            return pgd(model, images, labels, norm="linf", eps=eps, steps=1, alpha=length, random_start=True)
        return fgsm(model, images, labels, min(length, eps))

    return adversarial(craft, clean)
