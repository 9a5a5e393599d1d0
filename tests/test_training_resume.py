"""A training that is cut off after any epoch goes on from its state as if it had not been, bit for bit."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load as read
from safetensors.torch import save
from torch import Tensor
from trainings import CPU, NATURAL, REAL, cell, load, same, weights

from tasks.config import Cell, Component
from tasks.model import Classifier, build_model, make
from tasks.training.batches import Data
from tasks.training.evaluation import accuracy
from tasks.training.objective import Defense, mean_loss
from tasks.training.train import train
from tasks.trainings.standard import standard
from tasks.types import Mix, Split, StateError

OPTIMIZERS = {
    "adam": {"optimizer": "adam", "weight_decay": 1e-3},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "lr": 1e-3},
    "sgd without momentum": {"optimizer": "sgd", "lr": 0.01},
}
NETWORKS = {  # the first has dropout, all have batch normalisation, the first two have their channels last
    "cnn_2conv": {},
    "resnet_small": {"width": 4},
    "cnn_4conv": {},
}
DEFENSES = [
    Component("defense", "randomised_smoothing", 1, {"sigma": 0.3}),
    Component("defense", "parametric_noise", 1, {"alpha": 0.2, "trainable": True, "evaluation": "noise"}),
    Component("defense", "pgd_training", 1, {"eps": 0.1, "steps": 2}),
]
SCHEDULES = {
    "cosine": {"schedule": "cosine"},
    "step": {"schedule": "step", "milestones": [2, 4]},
    "in the middle of its patience": {"schedule": "plateau", "patience": 2, "validation": 0.25, "epochs": 9},
    "stopped early": {"early_stopping": 3, "validation": 0.25, "epochs": 50},
    "best_validation": {"checkpoint": "best_validation", "validation": 0.25},
    "best_test": {"checkpoint": "best_test"},
    "samples": {"samples": 100, "test_accuracy": "each"},
}


@pytest.fixture(scope="module")
def digits():
    return load("digits", 200, 60)


def pictures(count: int) -> Split:
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(256, (count, 1, 28, 28), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(count) % 10, tuple("0123456789"), (0.5,), (0.3,))


def worse_from(images_seen: int, batch_size: int = 40) -> Defense:
    """True classes in the first epochs, wrong ones from then on. Counts the updates of the model, not its own calls."""

    def loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        model.seen += len(labels)
        return mean_loss(model, images, labels if int(model.seen) <= images_seen else (labels + 1) % 10)

    return Defense(loss=loss, adapt=lambda model: model.register_buffer("seen", torch.zeros((), dtype=torch.int64)))


def built(settings: Cell, defense: Defense, split: Split) -> Classifier:
    model = build_model(settings, split)
    if defense.adapt and not make(settings.defense).adapt:
        defense.adapt(model)
    return model


def without_seconds(history) -> list[dict]:
    return history.drop_columns("seconds").to_pylist()


def check(settings: Cell, splits: tuple[Split, Split], defense: Defense | None = None, **options) -> list[dict]:
    """Train once; then go on from the state after each epoch. Returns the history."""
    defense = defense or make(settings.defense)
    options = {"epochs": 4, "batch_size": 40} | options
    whole, states = built(settings, defense, splits[0]), []
    history = standard(whole, *splits, defense, 0, lambda epoch: states.append(epoch.state()), **options)
    expected, rows = weights(whole), without_seconds(history)
    assert len(states) == len(rows)
    for number, state in enumerate(states, 1):
        torch.manual_seed(number)
        model, told = built(settings, defense, splits[0]), []
        found = standard(model, *splits, defense, 0, told.append, state, **options)
        assert same(weights(model), expected), f"cut off after epoch {number}"
        assert without_seconds(found) == rows
        assert [epoch.number for epoch in told] == list(range(number + 1, len(rows) + 1))
    return rows


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_with_each_optimizer(digits, optimizer):
    check(cell(), digits, **OPTIMIZERS[optimizer])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("architecture", NETWORKS)
def test_with_convolutions_batch_normalisation_and_dropout(architecture, optimizer):
    settings = cell("mnist", architecture)
    settings = replace(settings, architecture=replace(settings.architecture, parameters=NETWORKS[architecture]))
    check(settings, (pictures(24), pictures(4)), epochs=3, batch_size=10, **OPTIMIZERS[optimizer])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_with_each_schedule_and_checkpoint(digits, schedule):
    rows = check(cell(), digits, worse_from(3 * 200), lr=0.01, **{"epochs": 6} | SCHEDULES[schedule])
    if schedule == "stopped early":
        assert len(rows) < 10
    if schedule == "in the middle of its patience":
        assert len({row["lr"] for row in rows}) > 2


@pytest.mark.parametrize("defense", DEFENSES, ids=lambda defense: defense.name)
def test_with_a_defense_that_draws_random_numbers(digits, defense):
    check(replace(cell(), defense=defense), digits, validation=0.2)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_in_half_precision(digits, precision):
    check(cell(), digits, precision=precision)


def test_with_generated_images(digits):
    mix = Mix(digits[1].images.mul(255).byte(), digits[1].labels, 0.5)
    check(cell(), (replace(digits[0], mix=mix), digits[1]))


def test_a_loss_scale_that_was_lowered_stays_so(digits):
    def loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        value, scores = mean_loss(model, images, labels)
        return value * 2**14, scores

    scales = []
    settings, options = cell(), {"epochs": 3, "batch_size": 40, "precision": "float16"}
    whole = build_model(settings, digits[0])

    def note(epoch):
        header = epoch.state()
        length = int.from_bytes(header[:8], "little")
        scales.append(json.loads(json.loads(header[8 : 8 + length])["__metadata__"]["facts"])["scaler"]["scale"])

    standard(whole, *digits, Defense(loss=loss), 0, note, **options)
    assert 2.0 < scales[0] < 2.0**16
    assert not same(weights(whole), weights(build_model(settings, digits[0])))
    check(settings, digits, Defense(loss=loss), precision="float16")


def test_a_cell_is_trained_on_from_its_state_with_or_without_the_weights_it_began_with():
    settings, states = cell(epochs=3, natural_epochs=1, samples=100), []
    start, _ = train(cell(epochs=1, samples=100), REAL, CPU)
    whole, history = train(settings, REAL, CPU, lambda epoch: states.append(epoch.state()), start=start)
    for given in (start, None):
        model, found = train(settings, REAL, CPU, state=states[1], start=given)
        assert same(weights(model), weights(whole))
        assert without_seconds(found) == without_seconds(history)


def test_the_weights_of_a_best_epoch_before_the_cut_are_kept(digits):
    states, options = [], {"epochs": 6, "batch_size": 40, "lr": 0.01, "checkpoint": "best_test"}
    model = built(cell(), worse_from(400), digits[0])
    history = standard(model, *digits, worse_from(400), 0, lambda epoch: states.append(epoch.state()), **options)
    measured = history["test_accuracy"].to_pylist()
    assert max(measured) > measured[-1] + 0.2
    resumed = built(cell(), worse_from(400), digits[0])
    standard(resumed, *digits, worse_from(400), 0, None, states[4], **options)
    assert accuracy(resumed, Data(digits[1].images, digits[1].labels)) == max(measured)


def state_of(digits, architecture: str = "mlp", **options) -> bytes:
    states = []
    model = build_model(cell(architecture=architecture), digits[0])
    standard(model, *digits, make(NATURAL), 0, lambda epoch: states.append(epoch.state()), **{"epochs": 2} | options)
    return states[-1]


@pytest.mark.parametrize("cut", [0, 4, 8, 100, -1])
def test_a_torn_state_is_refused(digits, cut):
    model = build_model(cell(), digits[0])
    with pytest.raises(StateError, match="the state of an unfinished training cannot be read"):
        standard(model, *digits, make(NATURAL), 0, None, state_of(digits)[:cut], epochs=3)


def test_bytes_that_are_no_state_are_refused(digits):
    model = build_model(cell(), digits[0])
    foreign = [
        save({"model.mean": torch.zeros(1)}),
        *(save({}, {"facts": facts}) for facts in ("[1]", '{"a": 1}', "{")),
    ]
    for state in (b"nonsense" * 100, *foreign):
        with pytest.raises(StateError, match="the state of an unfinished training cannot be read"):
            standard(model, *digits, make(NATURAL), 0, None, state, epochs=3)


@pytest.mark.parametrize(
    ("other", "part"),
    [
        ({"architecture": "resnet_small"}, "model"),
        ({"optimizer": "sgd"}, "optimizer"),
        ({"optimizer": "sgd", "momentum": 0.9}, "optimizer"),
    ],
)
def test_a_state_of_another_training_is_refused_and_changes_nothing(digits, other, part):
    model = build_model(cell(), digits[0])
    before = weights(model)
    with pytest.raises(StateError, match=f"the state of an unfinished training is of another one: its {part} differs"):
        standard(model, *digits, make(NATURAL), 0, None, state_of(digits, **other), epochs=3)
    assert same(before, weights(model))


def test_best_weights_of_another_model_are_refused(digits):
    state = state_of(digits, checkpoint="best_test")
    length = int.from_bytes(state[:8], "little")
    facts = json.loads(state[8 : 8 + length])["__metadata__"]
    tensors = read(state)
    del tensors["best.head.weight"]
    with pytest.raises(StateError, match=r"its best differs in head\.weight"):
        standard(build_model(cell(), digits[0]), *digits, make(NATURAL), 0, None, save(tensors, facts), epochs=3)


def test_a_state_after_more_epochs_than_are_asked_for_is_refused(digits):
    with pytest.raises(StateError, match="after epoch 2 of 1"):
        standard(build_model(cell(), digits[0]), *digits, make(NATURAL), 0, None, state_of(digits), epochs=1)
