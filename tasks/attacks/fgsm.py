"""The fast gradient sign method: one step to the corner of the ball that the gradient points at."""

from tasks.config import Budget
from tasks.metrics import CountedModel, radius
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Steps


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1412.6572",
    norms=("linf",),
    budget="eps",
    knowledge="white-box",
)
def fgsm(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,  # noqa: ARG001 - part of every attack's contract; nothing is random here
) -> tuple[Images, Steps]:
    """FGSM, https://arxiv.org/abs/1412.6572: x + eps sign(gradient of the head's loss), clipped to the box if any.

    Goodfellow et al. 2015, section 4. One forward and one backward; the image returned is not evaluated.
    """
    gradient, _ = model.ascent(images, labels)
    moved = images + radius(budget) * gradient.sign()
    return moved.clamp(*model.box), labels.new_ones(len(labels))
