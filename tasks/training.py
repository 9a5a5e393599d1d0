"""Training a cell: weights and a history, repeatable to the last bit on the same device with as many threads.

Knows nothing of where weights and histories are kept, nor of attacks.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, TypeAlias

import pyarrow as pa
import torch
from torch import Tensor

from tasks.config import Cell
from tasks.model import Classifier, build_model, derive_seed, load_split, make, seeded
from tasks.parameters import Count, NonNegative, Positive, Rate
from tasks.registry import component
from tasks.schema import HISTORY
from tasks.types import DataRoot, Images, Labels, ModelError, Scores, Split, TaskError

OnEpoch: TypeAlias = Callable[[int, int], None]
"""Called after each epoch with its number, from 1, and how many there will be."""

_EVALUATION_BATCH = {"cpu": 250}
"""Small enough for a core's cache, which is twice as fast as 1,000; elsewhere `_LARGE_BATCH`."""
_LARGE_BATCH = 2_000


@dataclass(frozen=True)
class Defense:
    """A training objective.

    `loss(model, images, labels)` gives the loss of one batch, a scalar to differentiate, and the scores that it was
    measured on, (batch, classes): the training accuracy is theirs.
    """

    loss: Callable[[Classifier, Images, Labels], tuple[Tensor, Scores]]


@dataclass(frozen=True)
class Data:
    """Images as the split holds them, and labels, on the device they are used on."""

    images: Tensor
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Tensor | slice) -> tuple[Images, Labels]:
        """Pixels in [0, 1], float32, and labels."""
        # Indexing by a tensor does the same, and copies single bytes ten times as slowly.
        images = self.images[rows] if isinstance(rows, slice) else self.images.index_select(0, rows)
        pixels = images.float().div_(255) if images.dtype == torch.uint8 else images
        return pixels, self.labels[rows]

    def subset(self, rows: Tensor) -> "Data":
        """Some of it, in the order of `rows`."""
        return Data(self.images[rows], self.labels[rows])


def train(
    cell: Cell, root: DataRoot, device: torch.device, on_epoch: OnEpoch | None = None
) -> tuple[Classifier, pa.Table]:
    """Train a cell from its seed: the classifier on `device`, in evaluation mode, and a table of HISTORY.

    The global random state is left as it was. Raises DataError where the data is missing, ModelError where the loss
    or the scores are not finite, TaskError where parameters contradict each other.
    """
    train_split = load_split(cell.dataset, "train", root)
    test_split = load_split(cell.dataset, "test", root)
    model = build_model(cell, train_split).to(device)
    defense = make(cell.defense)
    history = make(cell.training, model, train_split, test_split, defense, cell.seed, on_epoch)
    return model.eval(), history


@component("training", version=1, paper="https://arxiv.org/abs/1412.6980")
def standard(
    model: Classifier,
    train: Split,
    test: Split,
    defense: Defense,
    seed: int,
    on_epoch: OnEpoch | None = None,
    *,
    epochs: Count = 10,
    optimizer: Literal["adam", "sgd"] = "adam",
    lr: Positive = 1e-3,
    batch_size: Count = 128,
    momentum: Rate = 0.0,
    weight_decay: NonNegative = 0.0,
    schedule: Literal["none", "cosine"] = "none",
    cosine_t_max: Count | None = None,
    validation: Rate = 0.0,
    samples: Count | None = None,
    checkpoint: Literal["last", "best_validation", "best_test"] = "last",
) -> pa.Table:
    """Minimise the defense's loss over shuffled batches, in place: a table of HISTORY, one row per epoch.

    `weight_decay` is an L2 penalty; `cosine` takes epoch e at lr (1 + cos(pi (e - 1) / cosine_t_max)) / 2, where
    `cosine_t_max` is `epochs` unless given. A share `validation` of the training images, drawn once, is held out, and
    `samples` of the others, drawn once, are trained on (none: all).
    `checkpoint` says which epoch's weights remain; of equal ones, the earliest. The test accuracy is measured after
    the last epoch, and with `best_test` after each. Raises ModelError and TaskError as `train` does.
    """
    _refuse_contradictions(optimizer, momentum, schedule, cosine_t_max, validation, checkpoint)
    device = model.mean.device
    data, held_out = _hold_out(_on(device, train), validation, seed)
    data = _some(data, samples, seed)
    tested = _on(device, test)
    stepper = _optimizer(model, optimizer, momentum, weight_decay)
    order = torch.Generator().manual_seed(derive_seed(seed, "order"))
    best = _Best()
    rows: list[dict[str, float | None]] = []
    with seeded(derive_seed(seed, "training"), device), _repeatable():
        for epoch in range(1, epochs + 1):
            begun = time.perf_counter()
            rate = lr if schedule == "none" else _cosine(lr, epoch, cosine_t_max or epochs)
            batches = torch.split(torch.randperm(len(data), generator=order).to(device), batch_size)
            loss, train_accuracy = _epoch(epoch, model, data, batches, defense, stepper, rate)
            validated = accuracy(model, held_out) if len(held_out) else None
            measured = accuracy(model, tested) if epoch == epochs or checkpoint == "best_test" else None
            if checkpoint != "last":
                best.offer(model, measured if checkpoint == "best_test" else validated)
            seconds = time.perf_counter() - begun
            rows.append(_row(epoch, loss, train_accuracy, validated, measured, rate, seconds))
            if on_epoch:
                on_epoch(epoch, epochs)
    best.restore(model)
    return pa.Table.from_pylist(rows, schema=HISTORY)


def _some(data: Data, samples: int | None, seed: int) -> Data:
    """So many of the images, drawn with the cell's seed. Raises TaskError where there are not as many."""
    if samples is None:
        return data
    if samples > len(data):
        raise TaskError(f"training: samples is {samples}, but there are {len(data)} training images")
    drawn = torch.randperm(len(data), generator=torch.Generator().manual_seed(derive_seed(seed, "samples")))
    return data.subset(drawn[:samples].to(data.labels.device))


@torch.no_grad()
def accuracy(model: Classifier, data: Data) -> float:
    """The share of images predicted right, in evaluation mode. Raises ModelError where a score is not finite."""
    model.eval()
    correct = 0
    size = _EVALUATION_BATCH.get(data.labels.device.type, _LARGE_BATCH)
    for start in range(0, len(data), size):
        images, labels = data.batch(slice(start, start + size))
        scores = model(images)
        if not scores.isfinite().all():
            raise ModelError(f"scores of images {start} to {start + len(labels) - 1} are not all finite")
        correct += int((scores.argmax(dim=1) == labels).sum())
    return correct / len(data)


def _epoch(
    epoch: int,
    model: Classifier,
    data: Data,
    batches: Sequence[Tensor],
    defense: Defense,
    stepper: torch.optim.Optimizer,
    rate: float,
) -> tuple[float, float]:
    """One pass over the batches: the mean loss, and the share of images predicted right on the way."""
    model.train()
    for group in stepper.param_groups:
        group["lr"] = rate
    losses = torch.empty(len(batches), device=data.labels.device)
    correct = torch.zeros_like(losses)
    for step, rows in enumerate(batches):
        images, labels = data.batch(rows)
        loss, scores = defense.loss(model, images, labels)
        stepper.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
        stepper.step()
        losses[step] = loss.detach()
        correct[step] = (scores.argmax(dim=1) == labels).sum()
    _refuse_non_finite(losses, epoch)
    sizes = torch.tensor([len(rows) for rows in batches], dtype=torch.float64)
    return float(losses.double().cpu() @ sizes) / len(data), float(correct.double().sum()) / len(data)


def _refuse_non_finite(losses: Tensor, epoch: int) -> None:
    """Once per epoch: asking at every step would make a GPU wait for the answer."""
    wrong = losses.isfinite().logical_not().nonzero()
    if len(wrong):
        step = int(wrong[0])
        raise ModelError(f"the training loss is {float(losses[step])} at epoch {epoch}, step {step + 1}")


class _Best:
    """The weights of the best epoch so far; with nothing offered, those that the model has."""

    def __init__(self) -> None:
        self.accuracy = -1.0
        self.weights: dict[str, Tensor] = {}

    def offer(self, model: Classifier, accuracy: float | None) -> None:
        if accuracy is not None and accuracy > self.accuracy:
            self.accuracy = accuracy
            self.weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def restore(self, model: Classifier) -> None:
        if self.weights:
            model.load_state_dict(self.weights)


def _row(*values: float | None) -> dict[str, float | None]:
    return dict(zip(HISTORY.names, values, strict=True))


def _on(device: torch.device, split: Split) -> Data:
    return Data(split.images.to(device), split.labels.to(device))


def _hold_out(data: Data, share: float, seed: int) -> tuple[Data, Data]:
    """What is left to train on, and the share that is held out of it."""
    num_held_out = round(share * len(data))
    if share and not 0 < num_held_out < len(data):
        raise TaskError(
            f"validation: {share} of {len(data)} training images is {num_held_out}: one part would be empty"
        )
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(derive_seed(seed, "validation")))
    held_out, kept = rows.to(data.labels.device).tensor_split([num_held_out])
    return (data.subset(kept) if share else data), data.subset(held_out)


def _optimizer(model: Classifier, name: str, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
    """The learning rate is set at each epoch."""
    if name == "adam":
        return torch.optim.Adam(model.parameters(), weight_decay=weight_decay, fused=True)
    return torch.optim.SGD(model.parameters(), momentum=momentum, weight_decay=weight_decay, fused=True)


def _cosine(lr: float, epoch: int, t_max: int) -> float:
    return lr * (1 + math.cos(math.pi * (epoch - 1) / t_max)) / 2


def _repeatable() -> AbstractContextManager[None]:
    """Have cuDNN pick only algorithms whose result is the same every time, and round as float32 does."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def _refuse_contradictions(
    optimizer: str, momentum: float, schedule: str, cosine_t_max: int | None, validation: float, checkpoint: str
) -> None:
    wrong = {
        "momentum is for the optimizer sgd": momentum > 0 and optimizer != "sgd",
        "cosine_t_max is for the schedule cosine": cosine_t_max is not None and schedule != "cosine",
        "checkpoint best_validation needs a validation share above 0": (
            checkpoint == "best_validation" and validation == 0
        ),
    }
    if any(wrong.values()):
        raise TaskError("training: " + "; ".join(text for text, is_wrong in wrong.items() if is_wrong))
