"""Which weights a training leaves: those after the last epoch, or of the first that was best at something."""

from functools import partial

import pytest
import torch
from torch import nn

from tasks.training.history import values
from tasks.training.keeping import Keeping


def best(column):
    return Keeping(partial(values, column=column) if column else None)


def kept(accuracies, decided_by="test_accuracy", before=0):
    """The number of the epoch, from 1, whose weights a model has at the end: those of epoch e are e.

    After `before` epochs another model and another keeping go on from what is kept.
    """
    model, keeping, rows = nn.Linear(1, 1), best(decided_by), []
    for epoch, accuracy in enumerate(accuracies, 1):
        nn.init.constant_(model.weight, epoch)
        rows.append({"validation_accuracy": None, "test_accuracy": None} | {decided_by or "test_accuracy": accuracy})
        keeping.look(model, rows)
        if epoch == before:
            copies, model, keeping = keeping.best, nn.Linear(1, 1), best(decided_by)
            keeping.best = copies
    keeping.restore(model)
    return int(model.weight)


@pytest.mark.parametrize("column", ["validation_accuracy", "test_accuracy"])
@pytest.mark.parametrize(
    ("accuracies", "epoch"),
    [([0.1, 0.5, 0.3], 2), ([0.5, 0.5, 0.5], 1), ([0.0, 0.0], 1), ([0.1, 0.2, 0.3], 3), ([0.3, 0.9, 0.2, 0.9], 2)],
)
def test_the_first_of_the_best_epochs_is_kept_wherever_the_training_was_cut(column, accuracies, epoch):
    assert [kept(accuracies, column, before) for before in range(len(accuracies))] == [epoch] * len(accuracies)


def test_the_last_epoch_is_kept_where_nothing_decides():
    assert kept([0.9, 0.5, 0.1], decided_by=None) == 3
    keeping = Keeping(None)
    keeping.look(nn.Linear(1, 1), [{"test_accuracy": 0.9}])
    assert keeping.best == {}


def test_what_is_kept_is_a_copy():
    model, keeping = nn.Linear(1, 1), best("test_accuracy")
    before = model.weight.clone()
    keeping.look(model, [{"test_accuracy": 0.5}])
    nn.init.constant_(model.weight, 7.0)
    assert torch.equal(keeping.best["weight"], before)
