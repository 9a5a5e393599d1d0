"""Training on clean images: no defense."""

from torch import Tensor
from torch.nn.functional import nll_loss

from tasks.model import Classifier
from tasks.registry import component
from tasks.training import Defense
from tasks.types import Images, Labels, Scores


def _loss(model: Classifier, images: Images, labels: Labels) -> tuple[Tensor, Scores]:
    scores = model(images)
    return nll_loss(model.log_probabilities(scores), labels), scores


@component("defense", version=1)
def natural() -> Defense:
    """The mean negative log-likelihood of the true classes, under the head's own probabilities."""
    return Defense(loss=_loss)
