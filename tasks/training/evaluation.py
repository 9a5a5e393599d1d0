"""How good a model is on images that it does not learn from. Knows nothing of what it learns, nor of when."""

import torch

from tasks import penalties
from tasks.model import Classifier, seeded
from tasks.training.batches import Data
from tasks.training.objective import Loss
from tasks.types import ModelError

_BATCH = {"cpu": 250}
"""Small enough for a core's cache, which is twice as fast as 1,000; elsewhere `_LARGE_BATCH`."""
_LARGE_BATCH = 2_000


def accuracy(model: Classifier, data: Data) -> float:
    """The share of images predicted right, in evaluation mode. Raises ModelError where a score is not finite."""
    return evaluate(model, data)[0]


@torch.no_grad()
def evaluate(model: Classifier, data: Data) -> tuple[float, float]:
    """The share of images predicted right, and the mean of the head's losses, in evaluation mode.

    What a stochastic model draws is the same each time. Raises ModelError where a score is not finite.
    """
    model.eval()
    correct, loss = 0, 0.0
    device = data.labels.device
    size = _BATCH.get(device.type, _LARGE_BATCH)
    with seeded(0, device):
        for start in range(0, len(data), size):
            images, labels = data.batch(slice(start, start + size))
            scores = model(images)
            if not scores.isfinite().all():
                raise ModelError(f"scores of images {start} to {start + len(labels) - 1} are not all finite")
            correct += int((scores.argmax(dim=1) == labels).sum())
            loss += float(model.losses(scores, labels).double().sum())
    return correct / len(data), loss / len(data)


def mean_objective(model: Classifier, data: Data, minimised: Loss, batch_size: int) -> float:
    """The mean over images of what a training minimises, in evaluation mode and in batches of the training's size.

    With all that belongs to it: the images that a defense crafts, its loss and penalties, and those of the layers.
    What is drawn is the same each time. Leaves gradients alone.
    """
    model.eval()
    total = 0.0
    with seeded(0, data.labels.device), torch.enable_grad(), penalties.counted():
        for start in range(0, len(data), batch_size):
            images, labels = data.batch(slice(start, start + batch_size))
            loss, _ = minimised(model, images, labels)
            total += len(labels) * float(loss.detach())
    return total / len(data)
