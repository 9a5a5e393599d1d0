"""Learning rates against lists computed by hand, alone and in trainings, and what parameters contradict each other."""

import math

import pytest
import torch
from trainings import NATURAL, cell, load, worse_and_worse

from tasks.model import build_model, make
from tasks.training.history import falls
from tasks.training.schedule import Schedule
from tasks.trainings.standard import standard
from tasks.types import TaskError


@pytest.fixture(scope="module")
def digits():
    return load("digits", 300, 100)


@pytest.fixture
def model(digits):
    return build_model(cell(), digits[0])


def rates(losses, patience, factor):
    """The factor of each epoch under the schedule plateau, if these are the validation losses."""
    schedule = Schedule("plateau", 1.0, factor=factor, patience=patience)
    return [schedule.rate([{"validation_loss": loss} for loss in losses[:done]]) for done in range(len(losses))]


def of_epochs(schedule, *epochs):
    """The learning rates of some epochs, counted from 1, in which nothing was held out."""
    return [schedule.rate([{"validation_loss": None}] * (epoch - 1)) for epoch in epochs]


def test_a_plateau_lowers_the_rate_after_so_many_epochs_without_a_lower_loss():
    losses = [1.0, 0.9, 0.9, 0.95, 0.91, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]
    assert rates(losses, patience=3, factor=0.5) == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_a_plateau_counts_anew_once_the_rate_is_lower_and_whenever_the_loss_falls():
    assert rates([1.0] * 8, patience=2, factor=0.1) == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.001])
    assert rates([1.0, 1.0, 0.9, 0.9, 0.8, 0.8], patience=2, factor=0.1) == [1] * 6


def test_a_loss_that_is_not_a_number_has_not_fallen():
    losses = [math.nan, 2.0, math.nan, 2.0, 1.0, math.inf]
    assert list(falls([{"validation_loss": loss} for loss in losses])) == [False, True, False, False, True, False]
    assert rates([math.nan] * 3, patience=2, factor=0.5) == [1, 1, 0.5]


def test_without_a_validation_loss_nothing_is_counted():
    assert of_epochs(Schedule("plateau", 3.0, patience=1), 1, 2, 30) == [3.0] * 3


def test_a_schedule_is_a_function_of_the_epoch():
    assert of_epochs(Schedule("none", 0.3), 1, 2, 100) == [0.3] * 3
    cosine = of_epochs(Schedule("cosine", 0.1, t_max=4), 1, 2, 3, 4, 5)
    assert cosine == pytest.approx([0.1, 0.1 * 0.8535534, 0.05, 0.1 * 0.1464466, 0.0])
    stepped = of_epochs(Schedule("step", 1.0, milestones=[2, 4]), 1, 2, 3, 4, 5, 50)
    assert stepped == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert of_epochs(Schedule("step", 1.0, milestones=[1], factor=0.25), 1, 2) == [1, 0.25]


def test_a_plateau_halves_the_rate_unless_another_factor_is_given():
    losses = [{"validation_loss": 1.0}] * 3
    assert Schedule("plateau", 8.0, patience=2).rate(losses) == 4.0
    assert Schedule("plateau", 8.0, patience=2, factor=0.25).rate(losses) == 2.0


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
