"""Label smoothing: the true class is to be predicted with less than certainty."""

from torch import Tensor

from tasks.model import Classifier
from tasks.parameters import Rate
from tasks.registry import component
from tasks.training.objective import Defense
from tasks.types import Images, Labels, Scores


@component("defense", version=1, paper="https://arxiv.org/abs/1512.00567", loss=True)
def label_smoothing(*, smoothing: Rate = 0.1) -> Defense:
    """Label smoothing (Szegedy et al. 2016): cross-entropy with labels mixed with the uniform distribution.

    With s = `smoothing` and K classes (their section 7, s is epsilon and u(k) = 1 / K), the mean over the batch of
    (1 - s) (-log p_label) + s / K sum_k (-log p_k), where p are the head's own probabilities. A head's own training
    loss, if it has one, is not used.
    """

    def loss(model: Classifier, images: Images, labels: Labels) -> tuple[Tensor, Scores]:
        scores = model(images)
        surprise = -model.log_probabilities(scores)
        own = surprise.gather(1, labels[:, None])[:, 0]
        return ((1 - smoothing) * own + smoothing * surprise.mean(1)).mean(), scores

    return Defense(loss=loss)
