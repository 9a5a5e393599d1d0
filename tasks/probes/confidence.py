"""What the model thinks of each image, and how sure it is."""

import torch

from tasks.counted import CountedModel
from tasks.metrics import margins
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Measure


@component("probe", version=1)
def confidence(
    model: CountedModel,
    images: Images,
    labels: Labels,
    streams: Streams,
) -> list[Measure]:
    """Predicted class, probabilities, margin and entropy of each image, in one forward.

    Per image: `correct`; `predicted`, the class; `confidence`, the largest probability; `true_class_confidence`, the
    label's; `margin`, the label's score minus the best other, in units of the head's scores; and `entropy`, that of
    the probabilities in nats, 0 to log(classes). The probabilities are the head's, taken in float64.
    """
    with torch.no_grad():
        scores = model(images)
        probabilities = model.log_probabilities(scores.double()).exp()
    predicted = scores.argmax(1)
    return [
        Measure("correct", predicted == labels),
        Measure("predicted", predicted.double()),
        Measure("confidence", probabilities.amax(1)),
        Measure("true_class_confidence", probabilities.gather(1, labels[:, None])[:, 0]),
        Measure("margin", margins(scores, labels)),
        Measure("entropy", torch.special.entr(probabilities).sum(1)),
    ]
