"""What one signed step does to the model's prediction, and how many pixels it could move."""

from typing import Literal

import torch

from tasks.attacks.fgsm import fgsm
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.parameters import Positive
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Measure


@component("probe", version=1, paper="https://doi.org/10.1007/978-3-030-61609-0_6")
def fgsm_robustness(
    model: CountedModel,
    images: Images,
    labels: Labels,
    streams: Streams,
    *,
    eps: Positive = 0.1,
    gradient: Literal["head", "log_odds", "score"] = "head",
) -> list[Measure]:
    """Prediction before and after an FGSM of eps, https://doi.org/10.1007/978-3-030-61609-0_6.

    Beckova, Pocos and Farkas 2020: x' = x + eps sign(dL/dx), clipped to [0, 1]. Per image: `correct`, the prediction
    of x is right; `robust`, that of x' is. A class's robustness in the paper is the mean of `robust` over its images,
    those included that were wrong before, and the network's the mean over classes. `unchanged_share` is the share of
    pixels that did not move in any channel, because the gradient was exactly 0 (sign(0) = 0) or the box was in the
    way: where it is large, `robust` may tell of a gradient that has vanished and not of a model that withstands.

    The paper's gradient is the loss's own in the model's precision, head; the others are those of the attack `fgsm`.
    Two forwards beside the attack's one and its backward.
    """
    with torch.no_grad():
        correct = model(images).argmax(1) == labels
    moved, _ = fgsm(model, images, labels, Budget("linf", eps), streams, gradient=gradient)
    with torch.no_grad():
        robust = model(moved).argmax(1) == labels
    unchanged = (moved == images).all(1).flatten(1)
    return [
        Measure("correct", correct),
        Measure("robust", robust),
        Measure("unchanged_share", unchanged.double().mean(1)),
    ]
