"""A vote: what a model predicts of images by most of its draws, or by its one look if it draws nothing.

Knows nothing of attacks, or of what is made of a prediction.
"""

import torch
from torch import nn

from tasks.given import Given
from tasks.metrics import margins
from tasks.noise import Noise
from tasks.passes import classifier, refuse_broken, scores_of
from tasks.streams import Streams
from tasks.types import Columns


def vote(model: nn.Module, given: Given, key: str, draws: int | None, fixed_batch: int | None) -> tuple[Columns, int]:
    """The class that most draws predict (of classes with as many votes the likelier), and the number of classes.

    What goes with it, all (n,): its `confidence`, the mean of its probability; the `margin` of the label in the mean
    scores; and, of a model that draws, `votes`: the share of the draws that predict the label. `draws`: None for one
    that does not. `key`: of the streams that noise comes from, so that votes with other keys are independent.
    """
    votes = probabilities = mean = torch.zeros((), dtype=given.pixels.dtype, device=given.pixels.device)
    streams, count = Streams(key, given.samples, given.targets), draws or 1
    for draw in range(count):
        with torch.no_grad():
            noise = Noise(streams, torch.full_like(given.samples, draw)) if draws else None
            scores = scores_of(model, given.pixels, fixed_batch, noise)
            refuse_broken(scores.double().mul(0).sum(1), given.samples)
            votes = votes + nn.functional.one_hot(scores.argmax(1), scores.shape[1])
            probabilities = probabilities + classifier(model).log_probabilities(scores).exp() / count
            mean = mean + scores / count
    predicted = (votes + probabilities / 2).argmax(1)
    confidence = probabilities.gather(1, predicted[:, None])[:, 0]
    found = {"pred": predicted, "confidence": confidence, "margin": margins(mean, given.labels)}
    if draws:
        found["votes"] = votes.gather(1, given.labels[:, None])[:, 0] / count
    return found, votes.shape[1]
