"""Learning rates against lists computed by hand, and what a validation loss that no longer falls brings about."""

import math

import pytest
import torch
from trainings import NATURAL, cell, load, turning

from tasks.model import build_model, make
from tasks.training.checkpoint import Memory
from tasks.training.schedule import factor_at, watch_loss
from tasks.training.train import standard
from tasks.types import TaskError


@pytest.fixture(scope="module")
def digits():
    return load("digits", 300, 100)


@pytest.fixture
def model(digits):
    return build_model(cell(), digits[0])


def rates(losses, patience, factor):
    """The factor of each epoch under the schedule plateau, if these are the validation losses."""
    memory, factors = Memory(), []
    for epoch, loss in enumerate(losses, 1):
        factors.append(factor_at("plateau", epoch, 1, [], factor, memory))
        watch_loss(memory, loss, patience, factor)
    return factors


def worse_and_worse(digits, model, **options):
    """The history of a training whose validation loss rises from the fourth epoch on."""
    defense = turning(after=3 * math.ceil(240 / 128))
    return standard(model, *digits, defense, 0, lr=0.01, validation=0.2, **options)


def test_a_plateau_lowers_the_rate_after_so_many_epochs_without_a_lower_loss():
    losses = [1.0, 0.9, 0.9, 0.95, 0.91, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]
    assert rates(losses, patience=3, factor=0.5) == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_a_plateau_counts_anew_once_the_rate_is_lower_and_whenever_the_loss_falls():
    assert rates([1.0] * 8, patience=2, factor=0.1) == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.001])
    assert rates([1.0, 1.0, 0.9, 0.9, 0.8, 0.8], patience=2, factor=0.1) == [1] * 6


def test_a_loss_that_is_not_a_number_has_not_fallen():
    memory = Memory()
    for _ in range(2):
        watch_loss(memory, math.nan, 5, 0.5)
    assert (memory.waited, memory.best_loss) == (2, math.inf)


def test_without_a_validation_loss_nothing_is_counted():
    memory = Memory()
    watch_loss(memory, None, 1, 0.5)
    assert memory == Memory()


def test_a_plateau_agrees_with_torch_which_waits_one_epoch_longer():
    losses = torch.rand(200, generator=torch.Generator().manual_seed(0)).cumsum(0).sub(torch.arange(200) * 0.5).tolist()
    stepper = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(stepper, factor=0.5, patience=3, threshold=0.0)
    expected = []
    for loss in losses:
        expected.append(stepper.param_groups[0]["lr"])
        reference.step(loss)
    assert len(set(expected)) > 2
    assert rates(losses, patience=4, factor=0.5)[:100] == pytest.approx(expected[:100])


def test_steps_multiply_after_each_milestone(digits, model):
    history = standard(
        model, *digits, make(NATURAL), 0, epochs=6, lr=0.1, schedule="step", milestones=[2, 4], optimizer="sgd"
    )
    assert history["lr"].to_pylist() == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    again = standard(
        model, *digits, make(NATURAL), 0, epochs=3, lr=0.1, schedule="step", milestones=[1], factor=0.2, optimizer="sgd"
    )
    assert again["lr"].to_pylist() == pytest.approx([0.1, 0.02, 0.02])


def test_the_cosine_schedule_takes_the_first_epoch_at_the_full_rate(digits, model):
    history = standard(model, *digits, make(NATURAL), 0, epochs=4, lr=0.1, schedule="cosine", optimizer="sgd")
    assert history["lr"].to_pylist() == pytest.approx([0.1, 0.1 * 0.853553, 0.05, 0.1 * 0.146447], rel=1e-5)
    longer = standard(model, *digits, make(NATURAL), 0, epochs=2, lr=0.1, schedule="cosine", cosine_t_max=200)
    assert longer["lr"].to_pylist()[1] == pytest.approx(0.1 * (1 + math.cos(math.pi / 200)) / 2)


def test_the_rate_falls_once_the_validation_loss_of_a_training_no_longer_does(digits, model):
    history = worse_and_worse(digits, model, epochs=9, schedule="plateau", patience=2)
    losses, lr = history["validation_loss"].to_pylist(), history["lr"].to_pylist()
    assert losses.index(min(losses)) == 2
    assert lr == pytest.approx([0.01] * 5 + [0.005] * 2 + [0.0025] * 2)


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


def test_early_stopping_counts_on_where_a_plateau_begins_anew(digits, model):
    history = worse_and_worse(digits, model, epochs=100, schedule="plateau", patience=2, factor=0.1, early_stopping=5)
    assert history["lr"].to_pylist() == pytest.approx([0.01] * 5 + [0.001] * 2 + [0.0001])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoint": "best_validation"}, "checkpoint best_validation needs a validation share above 0"),
        ({"momentum": 0.9}, "momentum and nesterov are for the optimizer sgd"),
        ({"optimizer": "adamw", "momentum": 0.9, "nesterov": True}, "momentum and nesterov are for the optimizer sgd"),
        ({"optimizer": "sgd", "nesterov": True}, "nesterov needs a momentum"),
        ({"cosine_t_max": 5}, "cosine_t_max is for the schedule cosine"),
        ({"milestones": [3]}, "milestones are for the schedule step"),
        ({"schedule": "step"}, "milestones are for the schedule step, which needs them"),
        ({"factor": 0.5}, "factor is for the schedules step and plateau"),
        ({"factor": 0.5, "schedule": "cosine"}, "factor is for the schedules step and plateau"),
        ({"schedule": "plateau"}, "the schedule plateau needs a validation share above 0"),
        ({"early_stopping": 3}, "early_stopping needs a validation share above 0"),
        ({"validation": 1e-9}, "one part would be empty"),
        ({"samples": 99_999}, "samples is 99999, but there are 300"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(digits, model, options, message):
    with pytest.raises(TaskError, match=message):
        standard(model, *digits, make(NATURAL), 0, **options)


def test_all_contradictions_are_told_at_once(digits, model):
    with pytest.raises(TaskError, match=r"cosine_t_max .*; .*early_stopping"):
        standard(model, *digits, make(NATURAL), 0, cosine_t_max=5, early_stopping=3)
