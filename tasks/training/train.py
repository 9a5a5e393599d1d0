"""Training a cell: weights and a history, repeatable to the last bit on the same device with as many threads.

Every random draw is a function of the cell's seed and the epoch, so that a training that was cut off goes on from its
last state as if it had not been. Knows nothing of where weights, states and histories are kept, nor of attacks.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Literal, TypeAlias

import pyarrow as pa
import torch
from torch import Tensor

from tasks.config import Cell
from tasks.metrics import frozen
from tasks.model import Classifier, build_model, derive_seed, kept_split, make, seeded
from tasks.parameters import Count, CountOrZero, NonNegative, Positive, Rate
from tasks.registry import component
from tasks.schema import HISTORY
from tasks.training.batches import Data, Epochs, on
from tasks.training.checkpoint import Memory, pack, unpack
from tasks.training.objective import Defense, objective
from tasks.training.schedule import factor_at, watch_loss
from tasks.training.step import Step, make_optimizer, set_rate
from tasks.types import DataRoot, Images, Labels, ModelError, Split, StateError, TaskError

_EVALUATION_BATCH = {"cpu": 250}
"""Small enough for a core's cache, which is twice as fast as 1,000; elsewhere `_LARGE_BATCH`."""
_LARGE_BATCH = 2_000


@dataclass(frozen=True)
class Epoch:
    """What is told after each epoch: its number, from 1, of how many at most, and the history with its line.

    `model` is the one in training, in evaluation mode; `state()` is all that is needed to go on from here.
    """

    number: int
    epochs: int
    history: list[dict[str, float | None]]
    model: Classifier
    state: Callable[[], bytes]


OnEpoch: TypeAlias = Callable[[Epoch], None]


def train(
    cell: Cell,
    root: DataRoot,
    device: torch.device,
    on_epoch: OnEpoch | None = None,
    *,
    state: bytes | None = None,
    start: Classifier | None = None,
    teacher: Classifier | None = None,
) -> tuple[Classifier, pa.Table]:
    """Train a cell from its seed: the classifier on `device`, in evaluation mode, and a table of HISTORY.

    `state` is that of a training of the same cell which was cut off. `start` has the weights to begin with, `teacher`
    is learned from. The global random state is left as it was. Raises DataError where the data is missing, ModelError
    where the loss or the scores are not finite, TaskError where parameters contradict each other.
    """
    natural_epochs = cell.training.parameters.get("natural_epochs", 0)
    if natural_epochs and start is None and state is None:
        raise TaskError(f"training: natural_epochs is {natural_epochs}, but there are no weights to begin with")
    train_split = kept_split(cell.dataset, "train", root)
    test_split = kept_split(cell.dataset, "test", root)
    model = build_model(cell, train_split, start.state_dict() if start is not None else None).to(device)
    defense = make(cell.defense)
    with ExitStack() as held:
        if defense.taught:
            if teacher is None:
                raise TaskError(f"{cell.defense.name}: has no model to learn from; natural_epochs cannot go with it")
            held.enter_context(frozen(teacher.eval()))
            defense = defense.taught(teacher)
        history = make(cell.training, model, train_split, test_split, defense, cell.seed, on_epoch, state)
    return model.eval(), history


@component("training", version=2, paper="https://arxiv.org/abs/1412.6980")
def standard(
    model: Classifier,
    train: Split,
    test: Split,
    defense: Defense,
    seed: int,
    on_epoch: OnEpoch | None = None,
    state: bytes | None = None,
    *,
    epochs: Count = 10,
    optimizer: Literal["adam", "adamw", "sgd"] = "adam",
    lr: Positive = 1e-3,
    batch_size: Count = 128,
    momentum: Rate = 0.0,
    nesterov: bool = False,
    weight_decay: NonNegative = 0.0,
    schedule: Literal["none", "cosine", "step", "plateau"] = "none",
    cosine_t_max: Count | None = None,
    milestones: list[Count] = [],  # noqa: B006 - read from the source as a literal, and never changed
    factor: Positive | None = None,
    patience: Count = 5,
    early_stopping: Count | None = None,
    validation: Rate = 0.0,
    samples: Count | None = None,
    checkpoint: Literal["last", "best_validation", "best_test"] = "last",
    test_accuracy: Literal["last", "each"] = "last",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    natural_epochs: CountOrZero = 0,  # says which cell the weights to begin with are of
) -> pa.Table:
    """Minimise the defense's loss over shuffled batches, in place: a table of HISTORY, one row per epoch.

    `weight_decay` is an L2 penalty (adamw: decoupled). Schedules, at epoch e: `cosine` takes
    lr (1 + cos(pi (e - 1) / cosine_t_max)) / 2, where `cosine_t_max` is `epochs` unless given; `step` multiplies by
    `factor` (0.1) after each of the epochs in `milestones`; `plateau` multiplies by `factor` (0.5) when the
    validation loss has not fallen for `patience` epochs. `early_stopping` ends the training when it has not fallen
    for so many. A share `validation` of the training images, drawn once, is held out, and `samples` of the others,
    drawn once, are trained on (none: all).
    `checkpoint` says which epoch's weights remain; of equal ones, the earliest. The test accuracy is measured after
    the last epoch, and with `best_test` or `test_accuracy: each` after every one. `precision` is that of the passes
    (autocast; float16 with a scaled loss, and slow on a CPU); weights, optimizer and evaluation are float32.
    With `natural_epochs` the weights to begin with are those of the same cell trained so long without a defense: it
    is a cell of its own, trained before. Raises ModelError and TaskError as `train` does.
    """
    _refuse_contradictions(
        {
            "momentum and nesterov are for the optimizer sgd": (momentum > 0 or nesterov) and optimizer != "sgd",
            "nesterov needs a momentum": nesterov and not momentum,
            "cosine_t_max is for the schedule cosine": cosine_t_max is not None and schedule != "cosine",
            "milestones are for the schedule step, which needs them": bool(milestones) != (schedule == "step"),
            "factor is for the schedules step and plateau": factor is not None and schedule not in {"step", "plateau"},
            "checkpoint best_validation needs a validation share above 0": (
                checkpoint == "best_validation" and validation == 0
            ),
            "the schedule plateau needs a validation share above 0": schedule == "plateau" and validation == 0,
            "early_stopping needs a validation share above 0": early_stopping is not None and validation == 0,
        }
    )
    device = model.mean.device
    data = Epochs(train, device, seed, validation, samples)
    tested = on(device, test)
    stepper = make_optimizer(model, optimizer, momentum, weight_decay, nesterov=nesterov)
    step = Step(model, objective(defense, model), stepper, precision)
    best: dict[str, Tensor] = {}
    memory = Memory() if state is None else unpack(state, model, stepper, best)
    if memory.epoch > epochs:
        raise StateError(f"the state of an unfinished training is after epoch {memory.epoch} of {epochs}")
    step.resume(memory.scaler)
    with _repeatable():
        while not _is_done(memory, epochs, early_stopping):
            epoch, begun = memory.epoch + 1, time.perf_counter()
            rate = lr * factor_at(schedule, epoch, cosine_t_max or epochs, milestones, factor or 0.1, memory)
            set_rate(stepper, rate)
            with seeded(derive_seed(seed, f"epoch {epoch}"), device):
                loss, train_accuracy = _epoch(epoch, step, data.batches(epoch, batch_size))
            validated, validation_loss = evaluate(model, data.held_out) if len(data.held_out) else (None, None)
            watch_loss(memory, validation_loss, patience, factor or 0.5)
            memory.epoch, memory.scaler = epoch, step.scaler
            measured = None
            if checkpoint == "best_test" or test_accuracy == "each" or _is_done(memory, epochs, early_stopping):
                measured = accuracy(model, tested)
            deciding = {"best_test": measured, "best_validation": validated}.get(checkpoint)
            if deciding is not None and deciding > memory.best_accuracy:
                memory.best_accuracy = deciding
                best.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
            seconds = time.perf_counter() - begun
            memory.rows.append(_row(epoch, loss, train_accuracy, validation_loss, validated, measured, rate, seconds))
            if on_epoch:
                on_epoch(Epoch(epoch, epochs, memory.rows, model.eval(), lambda: pack(model, stepper, best, memory)))
    if best:
        model.load_state_dict(best)
    return pa.Table.from_pylist(memory.rows, schema=HISTORY)


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
    size = _EVALUATION_BATCH.get(device.type, _LARGE_BATCH)
    with seeded(0, device):
        for start in range(0, len(data), size):
            images, labels = data.batch(slice(start, start + size))
            scores = model(images)
            if not scores.isfinite().all():
                raise ModelError(f"scores of images {start} to {start + len(labels) - 1} are not all finite")
            correct += int((scores.argmax(dim=1) == labels).sum())
            loss += float(model.losses(scores, labels).double().sum())
    return correct / len(data), loss / len(data)


def _is_done(memory: Memory, epochs: int, early_stopping: int | None) -> bool:
    return memory.epoch == epochs or (early_stopping is not None and memory.waited >= early_stopping)


def _epoch(epoch: int, step: Step, batches: Iterable[tuple[Images, Labels]]) -> tuple[float, float]:
    """One pass over the batches: the mean loss, and the share of images predicted right on the way."""
    step.model.train()
    losses, predicted, wanted = [], [], []
    for images, labels in batches:
        loss, predictions = step(images, labels)
        losses.append(loss)
        predicted.append(predictions)
        wanted.append(labels)
    # Once per epoch: at every step it would take time, and make a GPU wait for the answer.
    found, sizes = torch.stack(losses).double().cpu(), torch.tensor([len(labels) for labels in wanted])
    _refuse_non_finite(found, epoch)
    correct = int((torch.cat(predicted) == torch.cat(wanted)).sum())
    return float(found @ sizes.double() / sizes.sum()), correct / int(sizes.sum())


def _refuse_non_finite(losses: Tensor, epoch: int) -> None:
    wrong = losses.isfinite().logical_not().nonzero()
    if len(wrong):
        step = int(wrong[0])
        raise ModelError(f"the training loss is {float(losses[step])} at epoch {epoch}, step {step + 1}")


def _row(*values: float | None) -> dict[str, float | None]:
    return dict(zip(HISTORY.names, values, strict=True))


def _repeatable() -> AbstractContextManager[None]:
    """Have cuDNN pick only algorithms whose result is the same every time, and round as float32 does."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def _refuse_contradictions(wrong: dict[str, bool]) -> None:
    if any(wrong.values()):
        raise TaskError("training: " + "; ".join(text for text, is_wrong in wrong.items() if is_wrong))
