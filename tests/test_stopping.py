"""When a training ends: after its epochs, or when its validation loss has not fallen for so many."""

import math

import pytest
from trainings import NATURAL, cell, load, worse_and_worse

from tasks.model import build_model, make
from tasks.training.stopping import Stopping
from tasks.trainings.standard import standard


@pytest.fixture(scope="module")
def digits():
    return load("digits", 300, 100)


@pytest.fixture
def model(digits):
    return build_model(cell(), digits[0])


def epochs_made(losses, stopping):
    """After how many of these validation losses, one an epoch, a training ends; None if it does not."""
    rows = [{"validation_loss": loss} for loss in losses]
    return next((done for done in range(len(rows) + 1) if stopping.is_over(rows[:done])), None)


def test_a_training_ends_after_its_epochs():
    assert epochs_made([None] * 9, Stopping(4)) == 4
    assert epochs_made([1.0] * 9, Stopping(4)) == 4
    assert Stopping(1).is_over([{"validation_loss": None}] * 2)


def test_it_ends_before_them_when_the_loss_has_not_fallen_below_its_least_for_so_many():
    assert epochs_made([1.0, 0.9, 0.95, 0.9, 0.91, 0.5], Stopping(99, 3)) == 5
    assert epochs_made([1.0, 0.9, 0.95, 0.9, 0.8, 0.9, 0.9], Stopping(99, 3)) is None
    assert epochs_made([1.0, 0.9, 0.8, 0.8], Stopping(99, 1)) == 4


def test_a_loss_that_is_not_a_number_has_not_fallen():
    assert epochs_made([math.nan] * 5, Stopping(99, 2)) == 2
    assert epochs_made([1.0, math.nan, math.nan, 0.9], Stopping(99, 2)) == 3


def test_early_stopping_ends_a_training_and_its_last_epoch_is_tested(digits, model):
    history = worse_and_worse(digits, model, epochs=100, early_stopping=3)
    assert history["epoch"].to_pylist() == [1, 2, 3, 4, 5, 6]
    assert history["test_accuracy"].to_pylist()[:5] == [None] * 5
    assert history["test_accuracy"].to_pylist()[5] is not None


def test_early_stopping_leaves_a_training_alone_whose_loss_falls(digits, model):
    history = standard(model, *digits, make(NATURAL), 0, epochs=6, lr=1e-3, validation=0.2, early_stopping=1)
    losses = history["validation_loss"].to_pylist()
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == 6
