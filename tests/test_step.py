"""One update: what it returns, what the optimizers do, and passes in half precision."""

import pytest
import torch
from torch import Tensor, nn
from trainings import NATURAL, REAL, cell, first, load, same, weights

from tasks.model import Classifier, build_model, make
from tasks.training.objective import Defense, mean_loss, objective
from tasks.training.step import Step, make_optimizer, set_rate
from tasks.trainings.standard import standard


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_a_step_returns_the_loss_before_it_and_the_predictions_and_leaves_no_gradient(digits):
    model = build_model(cell(), digits[0])
    stepper = make_optimizer(model, "sgd", 0.0, 0.0, nesterov=False)
    set_rate(stepper, 0.5)
    images, labels = digits[0].images[:64], digits[0].labels[:64]
    scores = model(images).detach()
    step = Step(model, objective(make(NATURAL), model), stepper, "float32")
    model.head.weight.grad = torch.full_like(model.head.weight, 1e6)  # left behind by somebody
    loss, predictions = step(images, labels)
    assert loss == nn.functional.cross_entropy(scores, labels)
    assert torch.equal(predictions, scores.argmax(1))
    assert nn.functional.cross_entropy(model(images), labels) < loss
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("options", [{"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "sgd"}, {}])
def test_weight_decay_shrinks_the_weights(digits, options):
    norms = []
    for weight_decay in (0.0, 0.1):
        trained = build_model(cell(), digits[0])
        standard(trained, *digits, make(NATURAL), 0, epochs=3, lr=0.01, weight_decay=weight_decay, **options)
        norms.append(sum(weight.norm().item() for weight in trained.parameters()))
    assert norms[1] < norms[0]


def test_sgd_with_momentum_takes_the_published_step(digits):
    model, reference = build_model(cell(), digits[0]), build_model(cell(), digits[0])
    split = first(digits[0], 64)
    standard(model, split, digits[1], make(NATURAL), 0, epochs=3, batch_size=64, optimizer="sgd", lr=0.1, momentum=0.9)
    velocity = [torch.zeros_like(weight) for weight in reference.parameters()]
    for _ in range(3):
        loss = nn.functional.cross_entropy(reference(split.images), split.labels)
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        velocity = [0.9 * old + new for old, new in zip(velocity, gradients, strict=True)]
        with torch.no_grad():
            for weight, step in zip(reference.parameters(), velocity, strict=True):
                weight.sub_(0.1 * step)
    for name, tensor in reference.state_dict().items():
        assert torch.allclose(model.state_dict()[name], tensor, atol=1e-6)


# A CPU multiplies float16 matrices fast, but convolves in it a hundred times as slowly as in float32.
@pytest.mark.parametrize(("precision", "architecture"), [("bfloat16", "cnn_2conv"), ("float16", "mlp")])
def test_half_precision_trains_and_leaves_weights_and_evaluation_in_float32(precision, architecture):
    if not (REAL.path / "MNIST").is_dir():
        pytest.skip(f"no MNIST files under {REAL.path}")
    train_split, test_split = load("mnist", 600, 200)
    model, seen = build_model(cell("mnist", architecture), train_split), set()

    def loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        value, scores = mean_loss(model, images, labels)
        seen.add(scores.dtype)
        return value, scores

    history = standard(
        model, train_split, test_split, Defense(loss=loss), 0, epochs=2, batch_size=50, lr=2e-3, precision=precision
    )
    assert seen == {getattr(torch, precision)}
    assert history["loss"].to_pylist()[1] < history["loss"].to_pylist()[0]
    assert history["test_accuracy"].to_pylist()[1] > 0.5
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model(test_split.images[:2] / 255).dtype == torch.float32


def test_a_step_whose_gradient_overflows_in_float16_is_left_out(digits):
    model = build_model(cell(), digits[0])
    before, calls = weights(model), iter(range(1000))

    def loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        value, scores = mean_loss(model, images, labels)
        return value * (1e36 if next(calls) == 0 else 1.0), scores

    standard(model, *digits, Defense(loss=loss), 0, epochs=1, batch_size=1200, precision="float16")
    assert same(before, weights(model))
