"""Training: it learns, repeats itself to the bit, keeps the right epoch, and refuses what is not finite."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tasks.config import Cell, Component
from tasks.model import Classifier, build_model, load_split, make
from tasks.schema import HISTORY
from tasks.training import Data, Defense, accuracy, standard, train
from tasks.types import DataRoot, ModelError, Split, TaskError

CPU = torch.device("cpu")
REAL = DataRoot(Path(__file__).parent.parent.parent / "shared" / "data")
NATURAL = Component("defense", "natural", 1)


def cell(dataset: str = "digits", architecture: str = "mlp", head: str = "softmax", **training: object) -> Cell:
    return Cell(
        dataset=Component("dataset", dataset, 1),
        architecture=Component("architecture", architecture, 1),
        activation=Component("activation", "relu", 1),
        head=Component("head", head, 1),
        defense=NATURAL,
        training=Component("training", "standard", 1, training),
        seed=0,
    )


@pytest.fixture(scope="module")
def digits() -> tuple[Split, Split]:
    dataset = Component("dataset", "digits", 1)
    return load_split(dataset, "train", REAL), load_split(dataset, "test", REAL)


@pytest.fixture
def model(digits) -> Classifier:
    return build_model(cell(), digits[0])


@pytest.fixture(scope="module")
def mnist() -> tuple[Split, Split]:
    if not (REAL.path / "MNIST").is_dir():
        pytest.skip(f"no MNIST files under {REAL.path}")
    dataset = Component("dataset", "mnist", 1)
    return tuple(first(load_split(dataset, split, REAL), 2_000) for split in ("train", "test"))


def first(split: Split, count: int) -> Split:
    return replace(split, images=split.images[:count], labels=split.labels[:count])


def weights(model: Classifier) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def turning(after: int) -> Defense:
    """A defense that learns the true classes for so many batches, and from then on the wrong ones."""
    natural, calls = make(NATURAL), iter(range(1_000_000))

    def loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return natural.loss(model, images, labels if next(calls) < after else (labels + 1) % 10)

    return Defense(loss)


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


def test_an_epoch_shows_each_image_once_and_the_next_in_another_order(digits, model):
    natural, seen = make(NATURAL), []

    def loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(images)
        return natural.loss(model, images, labels)

    standard(model, *digits, Defense(loss), 0, epochs=2, batch_size=500)
    assert [len(images) for images in seen] == [500, 500, 200] * 2
    one, two = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert not torch.equal(one, two)
    for epoch in (one, two):
        assert sorted(epoch.flatten(1).tolist()) == sorted(digits[0].images.flatten(1).tolist())


def test_held_out_images_are_never_trained_on_and_are_what_validation_measures(digits, model):
    marked = replace(digits[0], images=torch.arange(1200).view(-1, 1, 1, 1).expand(-1, 1, 8, 8) / 1200)
    natural, seen = make(NATURAL), set()

    def loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        seen.update(images[:, 0, 0, 0].tolist())
        return natural.loss(model, images, labels)

    history = standard(model, marked, digits[1], Defense(loss), 0, epochs=3, validation=0.25)
    assert len(seen) == 900
    held_out = torch.tensor([value not in seen for value in marked.images[:, 0, 0, 0].tolist()])
    expected = accuracy(model, Data(marked.images[held_out], marked.labels[held_out]))
    assert history["validation_accuracy"].to_pylist()[-1] == expected


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


def test_the_cosine_schedule_takes_the_first_epoch_at_the_full_rate(digits, model):
    history = standard(model, *digits, make(NATURAL), 0, epochs=4, lr=0.1, schedule="cosine", optimizer="sgd")
    assert history["lr"].to_pylist() == pytest.approx([0.1, 0.1 * 0.853553, 0.05, 0.1 * 0.146447], rel=1e-5)
    longer = standard(model, *digits, make(NATURAL), 0, epochs=2, lr=0.1, schedule="cosine", cosine_t_max=200)
    assert longer["lr"].to_pylist()[1] == pytest.approx(0.1 * (1 + math.cos(math.pi / 200)) / 2)


@pytest.mark.parametrize("options", [{"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "sgd"}, {}])
def test_weight_decay_shrinks_the_weights(digits, options):
    norms = []
    for weight_decay in (0.0, 0.1):
        trained = build_model(cell(), digits[0])
        standard(trained, *digits, make(NATURAL), 0, epochs=3, lr=0.01, weight_decay=weight_decay, **options)
        norms.append(sum(weight.norm().item() for weight in trained.parameters()))
    assert norms[1] < norms[0]


def test_sgd_with_momentum_takes_the_published_step(digits, model):
    reference = build_model(cell(), digits[0])
    split = first(digits[0], 64)
    standard(model, split, digits[1], make(NATURAL), 0, epochs=3, batch_size=64, optimizer="sgd", lr=0.1, momentum=0.9)
    velocity = [torch.zeros_like(weight) for weight in reference.parameters()]
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(reference(split.images), split.labels)
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        velocity = [0.9 * old + new for old, new in zip(velocity, gradients, strict=True)]
        with torch.no_grad():
            for weight, step in zip(reference.parameters(), velocity, strict=True):
                weight.sub_(0.1 * step)
    for name, tensor in reference.state_dict().items():
        assert torch.allclose(model.state_dict()[name], tensor, atol=1e-6)


def test_every_epoch_is_reported_with_how_many_there_will_be():
    reported = []
    train(cell(epochs=3), REAL, CPU, on_epoch=lambda epoch, epochs: reported.append((epoch, epochs)))
    assert reported == [(1, 3), (2, 3), (3, 3)]


def test_a_loss_that_is_not_finite_is_refused_with_its_epoch_and_step(digits, model):
    natural, calls = make(NATURAL), iter(range(1, 1000))

    def loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        value, scores = natural.loss(model, images, labels)
        return (value * math.inf if next(calls) == 14 else value), scores

    with pytest.raises(ModelError, match="the training loss is inf at epoch 2, step 4"):
        standard(model, *digits, Defense(loss), 0, epochs=3)


def test_a_learning_rate_that_diverges_is_refused(digits, model):
    with pytest.raises(ModelError, match=r"loss is (nan|inf) at epoch 1, step [2-9]"):
        standard(model, *digits, make(NATURAL), 0, optimizer="sgd", lr=1e30)


def test_scores_that_are_not_finite_are_refused_when_accuracy_is_measured(digits, model):
    model.head.weight.data[0, 0] = torch.nan
    with pytest.raises(ModelError, match="scores of images 0 to 249 are not all finite"):
        accuracy(model, Data(digits[1].images, digits[1].labels))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoint": "best_validation"}, "best_validation needs a validation share above 0"),
        ({"momentum": 0.9}, "momentum is for the optimizer sgd"),
        ({"cosine_t_max": 5}, "cosine_t_max is for the schedule cosine"),
        ({"validation": 1e-9}, "one part would be empty"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(digits, model, options, message):
    with pytest.raises(TaskError, match=message):
        standard(model, *digits, make(NATURAL), 0, **options)


def test_trained_weights_give_the_same_scores_in_a_model_built_afresh(mnist):
    settings = cell("mnist", "cnn_2conv")
    trained = build_model(settings, mnist[0])
    standard(trained, first(mnist[0], 200), first(mnist[1], 50), make(NATURAL), 0, epochs=1)
    fresh = build_model(settings, mnist[1])
    fresh.load_state_dict({name: tensor.contiguous() for name, tensor in trained.state_dict().items()})
    images = mnist[1].images[:50] / 255
    assert torch.equal(fresh.eval()(images), trained.eval()(images))


def test_so_many_images_are_trained_on_and_the_same_whatever_the_epochs(digits, model):
    marked = replace(digits[0], images=digits[0].images.float() / 255)
    marked.images[:, 0, 0, 0] = torch.linspace(0, 1, len(marked.labels))
    seen: list[set[float]] = []
    for epochs in (1, 3):
        values: set[float] = set()

        def loss(model, images, labels, into=values):
            into.update(images[:, 0, 0, 0].tolist())
            scores = model(images)
            return scores.square().mean(), scores

        standard(model, marked, digits[1], Defense(loss), 0, epochs=epochs, samples=50, batch_size=16)
        seen.append(values)
    assert len(seen[0]) == 50
    assert seen[0] == seen[1]


def test_more_images_than_there_are_cannot_be_trained_on(digits, model):
    with pytest.raises(TaskError, match="samples is 99999, but there are"):
        standard(model, *digits, make(NATURAL), 0, samples=99_999)
