"""Training a cell: weights and a history, repeatable to the last bit on the same device with as many threads.

Every random draw is a function of the cell's seed and the epoch, so that a training that was cut off goes on from its
last state as if it had not been. Knows nothing of where weights, states and histories are kept, nor of attacks.
"""

from contextlib import ExitStack

import pyarrow as pa
import torch

from tasks.config import Cell
from tasks.metrics import frozen
from tasks.model import Classifier, build_model, kept_split, make
from tasks.training.loop import OnEpoch
from tasks.types import DataRoot, TaskError


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
