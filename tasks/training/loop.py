"""The loop of a training: an epoch of updates, then what it came to, until it is over.

Knows nothing of components. What the rate of an epoch is, when the training ends and which weights are kept is decided
elsewhere, from the history.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from tasks.model import Classifier, derive_seed, seeded
from tasks.training.batches import Data, Epochs
from tasks.training.checkpoint import pack, unpack
from tasks.training.evaluation import accuracy, evaluate, mean_objective
from tasks.training.history import Row
from tasks.training.keeping import Keeping
from tasks.training.objective import Loss
from tasks.training.schedule import Schedule
from tasks.training.step import Step, set_rate
from tasks.training.stopping import Stopping
from tasks.types import Images, Labels, ModelError, StateError

_UNMEASURED = ("validation_loss", "validation_objective", "validation_accuracy", "test_accuracy")


@dataclass(frozen=True)
class Epoch:
    """What is told after each epoch: its number, from 1, of how many at most, and the history with its line.

    `model` is the one in training, in evaluation mode; `state()` is all that is needed to go on from here.
    """

    number: int
    epochs: int
    history: list[Row]
    model: Classifier
    state: Callable[[], bytes]


OnEpoch: TypeAlias = Callable[[Epoch], None]


@dataclass(frozen=True)
class Loop:
    """A training as its parts: what is learned from, how, what is tested on, and the three decisions.

    `seed` is the cell's. The test accuracy is measured after the last epoch, or after each (`tests_each`). `watched` is
    measured on the images held out, for those who decide; None: the head's loss. No batch has fewer than `least`
    images, where that can be helped.
    """

    step: Step
    learned: Epochs
    tested: Data
    batch_size: int
    seed: int
    tests_each: bool
    schedule: Schedule
    stopping: Stopping
    keeping: Keeping
    watched: Loss | None = None
    least: int = 1

    def run(self, state: bytes | None, on_epoch: OnEpoch | None) -> list[Row]:
        """Train until it is over, from the start or from where `state` is: the history.

        The step's model is left with the weights that are kept. Raises ModelError where the loss or the scores are not
        finite, StateError for a state of another training.
        """
        rows = self._resume(state)
        with _repeatable():
            while not self.stopping.is_over(rows):
                begun = time.perf_counter()
                rows.append(self._learn(len(rows) + 1, self.schedule.rate(rows)))
                self._measure(rows)
                self.keeping.look(self.step.model, rows)
                rows[-1]["seconds"] = time.perf_counter() - begun
                if on_epoch:
                    on_epoch(self._epoch(rows))
        self.keeping.restore(self.step.model)
        return rows

    def _resume(self, state: bytes | None) -> list[Row]:
        rows = [] if state is None else unpack(state, self.step, self.keeping)
        if len(rows) > self.stopping.epochs:
            raise StateError(
                f"the state of an unfinished training is after epoch {len(rows)} of {self.stopping.epochs}"
            )
        return rows

    def _learn(self, epoch: int, rate: float) -> Row:
        """One pass over the images, and the row about it, in which nothing else is measured."""
        set_rate(self.step.optimizer, rate)
        with seeded(derive_seed(self.seed, f"epoch {epoch}"), self.tested.labels.device):
            batches = self.learned.batches(epoch, self.batch_size, least=self.least)
            loss, train_accuracy = pass_over(batches, self.step, epoch)
        unmeasured = dict.fromkeys(_UNMEASURED)
        return {"epoch": epoch, "loss": loss, "train_accuracy": train_accuracy, **unmeasured, "lr": rate}

    def _measure(self, rows: list[Row]) -> None:
        """Fill in what the last epoch came to on images that are not learned from."""
        model, row, held_out = self.step.model, rows[-1], self.learned.held_out
        if len(held_out):
            row["validation_accuracy"], row["validation_loss"] = evaluate(model, held_out)
        if len(held_out) and self.watched:
            row["validation_objective"] = mean_objective(model, held_out, self.watched, self.batch_size)
        if self.tests_each or self.stopping.is_over(rows):
            row["test_accuracy"] = accuracy(model, self.tested)

    def _epoch(self, rows: list[Row]) -> Epoch:
        model = self.step.model.eval()
        return Epoch(len(rows), self.stopping.epochs, rows, model, lambda: pack(self.step, self.keeping, rows))


def pass_over(batches: Iterable[tuple[Images, Labels]], step: Step, epoch: int) -> tuple[float, float]:
    """Update the weights once per batch: the mean loss, and the share of images predicted right on the way.

    Raises ModelError where a loss is not finite, with its step and the epoch.
    """
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


def _repeatable() -> AbstractContextManager[None]:
    """Have cuDNN pick only algorithms whose result is the same every time, and round as float32 does."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
