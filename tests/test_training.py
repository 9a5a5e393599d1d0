"""Training: it learns, repeats itself to the bit, keeps the right epoch, and refuses what is not finite."""

import math
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints

import pyarrow as pa
import pytest
import torch
from torch import Tensor
from trainings import CPU, NATURAL, REAL, cell, first, load, same, turning, weights

from tasks.config import Component
from tasks.model import Classifier, build_model, derive_seed, make, seeded
from tasks.registry import UnknownComponentError, component, describe, names
from tasks.schema import HISTORY
from tasks.training.batches import Data
from tasks.training.evaluation import accuracy, evaluate
from tasks.training.objective import Defense, mean_loss
from tasks.training.train import train
from tasks.trainings.standard import standard
from tasks.types import ModelError, TaskError


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture
def model(digits) -> Classifier:
    return build_model(cell(), digits[0])


@pytest.fixture(scope="module")
def mnist():
    if not (REAL.path / "MNIST").is_dir():
        pytest.skip(f"no MNIST files under {REAL.path}")
    return load("mnist", 2_000, 2_000)


@pytest.mark.parametrize("architecture", ["mlp", "cnn_4conv", "cnn_2conv"])
@pytest.mark.parametrize("head", ["softmax", "softrmax", "cons"])
def test_two_epochs_on_real_images_lower_the_loss(mnist, architecture, head):
    train_split, test_split = first(mnist[0], 600), first(mnist[1], 200)
    model = build_model(cell("mnist", architecture, head), train_split)
    history = standard(model, train_split, test_split, make(NATURAL), 0, epochs=2, batch_size=32, lr=2e-3)
    before, after = history["loss"].to_pylist()
    assert after < before
    assert history["test_accuracy"].to_pylist()[1] > 0.3


def test_a_cell_learns_the_digits_and_comes_back_in_evaluation_mode():
    model, history = train(cell(epochs=30), REAL, CPU)
    assert history.schema == HISTORY
    assert history["epoch"].to_pylist() == list(range(1, 31))
    assert history["test_accuracy"].to_pylist()[:29] == [None] * 29
    assert history["test_accuracy"].to_pylist()[29] > 0.9
    assert history["validation_accuracy"].null_count == 30
    assert not model.training


def test_the_history_holds_the_mean_loss_and_accuracy_over_the_images_of_the_epoch(digits, model):
    history = standard(model, *digits, make(NATURAL), 0, epochs=1, optimizer="sgd", lr=1e-30, batch_size=500)
    scores = model(digits[0].images)
    expected = torch.nn.functional.cross_entropy(scores, digits[0].labels).item()
    row = history.to_pylist()[0]
    assert row["loss"] == pytest.approx(expected, rel=1e-6)
    assert row["train_accuracy"] == pytest.approx((scores.argmax(1) == digits[0].labels).double().mean().item())
    assert row["test_accuracy"] == accuracy(model, Data(digits[1].images, digits[1].labels))
    assert (row["lr"], row["seconds"] > 0) == (1e-30, True)


@pytest.mark.parametrize("architecture", ["mlp", "cnn_4conv", "cnn_2conv"])
def test_the_same_seed_gives_the_same_weights_whatever_the_global_random_state(mnist, architecture):
    outcomes = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        trained = build_model(cell("mnist", architecture), mnist[0])
        standard(trained, first(mnist[0], 300), first(mnist[1], 50), make(NATURAL), 7, epochs=2, validation=0.1)
        outcomes.append(weights(trained))
        assert torch.equal(torch.get_rng_state(), before)
    assert same(*outcomes)


def test_another_seed_shuffles_otherwise(digits):
    outcomes = []
    for seed in (0, 1):
        trained = build_model(cell(), digits[0])
        standard(trained, *digits, make(NATURAL), seed, epochs=1)
        outcomes.append(weights(trained))
    assert not same(*outcomes)


@pytest.mark.parametrize(("checkpoint", "column"), [("best_test", "test"), ("best_validation", "validation")])
def test_the_best_epoch_is_kept_and_not_the_last(digits, model, checkpoint, column):
    share = 0.2 if column == "validation" else 0.0
    batches_per_epoch = math.ceil(1200 * (1 - share) / 128)
    defense = turning(after=3 * batches_per_epoch)
    history = standard(model, *digits, defense, 0, epochs=6, lr=0.01, validation=share, checkpoint=checkpoint)
    measured = history[f"{column}_accuracy"].to_pylist()
    best = measured.index(max(measured))
    assert best < 3
    assert max(measured) > measured[-1] + 0.3
    kept = weights(model)
    again = build_model(cell(), digits[0])
    standard(again, *digits, make(NATURAL), 0, epochs=best + 1, lr=0.01, validation=share)
    assert same(kept, weights(again))


def test_the_last_epoch_is_kept_by_default(digits, model):
    history = standard(model, *digits, turning(after=30), 0, epochs=6, lr=0.01)
    assert history["test_accuracy"].to_pylist()[-1] == accuracy(model, Data(digits[1].images, digits[1].labels))
    assert history["test_accuracy"].to_pylist()[-1] < 0.3


def test_every_epoch_is_reported_with_how_many_there_will_be():
    reported = []
    train(cell(epochs=3), REAL, CPU, on_epoch=lambda epoch: reported.append((epoch.number, epoch.epochs)))
    assert reported == [(1, 3), (2, 3), (3, 3)]


def test_a_loss_that_is_not_finite_is_refused_with_its_epoch_and_step(digits, model):
    calls = iter(range(1, 1000))

    def loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        value, scores = mean_loss(model, images, labels)
        return (value * math.inf if next(calls) == 14 else value), scores

    with pytest.raises(ModelError, match="the training loss is inf at epoch 2, step 4"):
        standard(model, *digits, Defense(loss=loss), 0, epochs=3)


def test_a_learning_rate_that_diverges_is_refused(digits, model):
    with pytest.raises(ModelError, match=r"loss is (nan|inf) at epoch 1, step [2-9]"):
        standard(model, *digits, make(NATURAL), 0, optimizer="sgd", lr=1e30)


def test_scores_that_are_not_finite_are_refused_when_accuracy_is_measured(digits, model):
    model.head.weight.data[0, 0] = torch.nan
    with pytest.raises(ModelError, match="scores of images 0 to 249 are not all finite"):
        accuracy(model, Data(digits[1].images, digits[1].labels))


def test_trained_weights_give_the_same_scores_in_a_model_built_afresh(mnist):
    settings = cell("mnist", "cnn_2conv")
    trained = build_model(settings, mnist[0])
    standard(trained, first(mnist[0], 200), first(mnist[1], 50), make(NATURAL), 0, epochs=1)
    fresh = build_model(settings, mnist[1])
    fresh.load_state_dict({name: tensor.contiguous() for name, tensor in trained.state_dict().items()})
    images = mnist[1].images[:50] / 255
    assert torch.equal(fresh.eval()(images), trained.eval()(images))


def test_a_stochastic_model_is_evaluated_with_the_same_draws_each_time(digits):
    settings = replace(cell(), defense=Component("defense", "randomised_smoothing", 1, {"sigma": 0.5}))
    model = build_model(settings, digits[0])
    data = Data(digits[1].images, digits[1].labels)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(evaluate(model, data))
    assert found[0] == found[1]
    assert found[0] != evaluate(build_model(cell(), digits[0]), data)


def test_the_validation_loss_is_the_mean_of_the_heads_losses(digits, model):
    data = Data(digits[1].images, digits[1].labels)
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(model.eval()(digits[1].images).double(), digits[1].labels)
    assert evaluate(model, data)[1] == pytest.approx(float(expected), rel=1e-6)


def test_the_test_accuracy_is_told_after_each_epoch_where_that_is_asked_for(digits, model):
    told = []
    history = standard(
        model,
        *digits,
        make(NATURAL),
        0,
        lambda epoch: told.append((accuracy(epoch.model, Data(digits[1].images, digits[1].labels)), epoch.history[-1])),
        epochs=3,
        test_accuracy="each",
    )
    assert history["test_accuracy"].to_pylist() == [measured for measured, _ in told]
    assert history.to_pylist() == [row for _, row in told]


def test_what_is_done_between_epochs_changes_nothing_of_the_training(digits):
    def meddle(epoch):
        torch.rand(1)
        assert not epoch.model.training
        epoch.model(digits[0].images[:10]).sum().backward()

    outcomes = []
    for on_epoch in (None, meddle):
        trained = build_model(cell(), digits[0])
        standard(trained, *digits, make(NATURAL), 0, on_epoch, epochs=2)
        outcomes.append(weights(trained))
    assert same(*outcomes)


def test_a_training_begins_with_the_weights_of_another_model():
    start, _ = train(cell(epochs=2), REAL, CPU)
    model, history = train(cell(epochs=1, lr=1e-30, optimizer="sgd"), REAL, CPU, start=start)
    assert same(weights(model), weights(start))
    assert history["epoch"].to_pylist() == [1]


def test_weights_to_begin_with_are_asked_for_where_natural_epochs_come_first():
    with pytest.raises(TaskError, match="natural_epochs is 2, but there are no weights to begin with"):
        train(cell(epochs=1, natural_epochs=2), REAL, CPU)


def test_a_defense_that_learns_from_another_model_is_given_it_frozen_and_asks_for_it():
    settings = replace(cell(epochs=1), defense=Component("defense", "distillation", 1))
    teacher, _ = train(cell(epochs=5), REAL, CPU)
    before = weights(teacher)
    student, _ = train(settings, REAL, CPU, teacher=teacher)
    assert same(before, weights(teacher))
    assert all(parameter.requires_grad for parameter in teacher.parameters())
    assert not same(weights(student), weights(train(cell(epochs=1), REAL, CPU)[0]))
    with pytest.raises(TaskError, match="distillation: has no model to learn from; natural_epochs cannot go with it"):
        train(settings, REAL, CPU)


def test_each_epoch_draws_from_a_generator_of_its_own(digits, model):
    drawn = []

    def loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        drawn.append(float(torch.rand(())))
        return mean_loss(model, images, labels)

    standard(model, *digits, Defense(loss=loss), 5, epochs=2, batch_size=1200)
    expected = []
    for epoch in (1, 2):
        with seeded(derive_seed(5, f"epoch {epoch}"), CPU):
            expected.append(float(torch.rand(())))
    assert drawn == expected


@component("training", version=1)
def untrained(model, train, test, defense, seed, on_epoch=None, state=None, *, scale: float = 1.0):
    """Multiplies the weights and learns nothing."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(scale)
    return HISTORY.empty_table()


def trained_by(name: str) -> tuple[dict[str, Tensor], pa.Table]:
    model, history = train(replace(cell(), training=Component("training", name, 1, {"scale": 2.0})), REAL, CPU)
    return weights(model), history


def test_a_training_of_another_package_is_named_by_its_module(digits):
    name = f"{__name__}:untrained"
    assert describe("training", name).parameters["scale"].default == 1.0
    found, history = trained_by(name)
    start = build_model(cell(), digits[0]).state_dict()
    assert torch.equal(found["head.weight"], 2 * start["head.weight"])
    assert history.num_rows == 0


def test_a_training_of_another_package_joins_by_an_entry_point(monkeypatch):
    point = EntryPoint("untrained", f"{__name__}:untrained", "attackgrid.training")
    monkeypatch.setattr("tasks.registry.entry_points", lambda **asked: EntryPoints([point]).select(**asked))
    assert names("training") == ["standard", "untrained"]
    assert trained_by("untrained")[1].num_rows == 0
    with pytest.raises(UnknownComponentError, match=r"unknown training 'untraned'\. Did you mean 'untrained'"):
        trained_by("untraned")
