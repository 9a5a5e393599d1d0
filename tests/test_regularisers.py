"""Penalties on weights and on input gradients, against closed forms."""

import pytest
import torch
from defense_cells import cell, real_images
from torch import nn

from tasks.defenses.gradient_regularisation import gradient_regularisation
from tasks.defenses.orthogonality import orthogonality
from tasks.heads.softmax import softmax
from tasks.heads.softrmax import softrmax
from tasks.model import Classifier, build_model, make
from tasks.training.objective import Defense, objective
from tasks.trainings.standard import standard

IMAGES = torch.rand(5, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 2, 1, 1, 0])


def network(head=softmax) -> Classifier:
    """Convolutions, one of them grouped, and linear layers, whose matrices are some wide and some high."""
    torch.manual_seed(0)
    body = nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.Softplus(), nn.Conv2d(4, 8, 1, groups=4), nn.Softplus(), nn.Flatten()),
        *(nn.Linear(32, 6), nn.Softplus(), nn.Linear(6, 9), nn.Softplus()),
    )
    return Classifier(body, head(9, 3), shape=(2, 4, 4), num_classes=3, mean=(0.5, 0.4), std=(0.2, 0.3)).double()


def linear(head=softmax) -> Classifier:
    torch.manual_seed(0)
    return Classifier(
        nn.Flatten(), head(32, 3), shape=(2, 4, 4), num_classes=3, mean=(0.5, 0.4), std=(0.2, 0.3)
    ).double()


def weights(model: Classifier) -> list[torch.Tensor]:
    return [weight for name, weight in model.named_parameters() if name.endswith("weight")]


def matrices(model: Classifier) -> list[torch.Tensor]:
    return [weight.flatten(1) for weight in weights(model)]


def test_the_orthogonality_penalty_is_its_definition_with_the_smaller_product():
    model = network()
    expected = 0.0
    for matrix in matrices(model):
        squares = torch.linalg.svdvals(matrix).square()
        expected += (squares - 1).square().sum().item()
    found = orthogonality(beta=0.2).penalty(model, IMAGES, LABELS)
    assert [tuple(matrix.shape) for matrix in matrices(model)] == [(4, 18), (8, 1), (6, 32), (9, 6), (3, 9)]
    assert found.item() == pytest.approx(0.1 * expected, rel=1e-12)


def test_either_product_has_the_same_gradient():
    model = network()
    found = torch.autograd.grad(orthogonality(beta=2.0).penalty(model, IMAGES, LABELS), weights(model))
    whole = sum(
        (weight.flatten(1).T @ weight.flatten(1) - torch.eye(weight[0].numel(), dtype=weight.dtype)).square().sum()
        for weight in weights(model)
    )
    expected = torch.autograd.grad(whole, weights(model))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-12)
        assert one.abs().sum() > 0


def test_orthonormal_layers_cost_nothing_and_minimising_the_penalty_makes_them():
    model = network()
    for weight in weights(model):
        nn.init.orthogonal_(weight)
    assert orthogonality().penalty(model, IMAGES, LABELS).item() == pytest.approx(0, abs=1e-20)
    model = network()
    steps = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(500):
        steps.zero_grad()
        orthogonality(beta=1.0).penalty(model, IMAGES, LABELS).backward()
        steps.step()
    for matrix in matrices(model):
        assert torch.allclose(torch.linalg.svdvals(matrix), torch.ones((), dtype=torch.float64), atol=1e-2)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_the_input_gradient_of_a_linear_model_is_penalised_by_its_closed_form(norm):
    model = linear()
    loss, scores = gradient_regularisation(strength=0.7, norm=norm).loss(model, IMAGES, LABELS)
    assert torch.equal(scores, model(IMAGES))
    # The gradient of softmax cross-entropy: W^T (p - e_y), in pixels divided by each channel's standard deviation.
    errors = scores.softmax(1) - nn.functional.one_hot(LABELS, 3)
    gradient = (errors @ model.head.weight).view_as(IMAGES) / model.std
    sizes = gradient.square() if norm == "l2" else gradient.abs()
    expected = nn.functional.cross_entropy(scores, LABELS) + 0.7 * sizes.sum() / 5
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    # Both are functions of the weights, so that they have the same gradients there.
    found = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    for one, other in zip(found, torch.autograd.grad(expected, list(model.parameters())), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("head", [softmax, softrmax])
def test_the_penalty_is_the_slope_of_the_heads_own_loss_and_its_gradient_reaches_every_weight(head):
    model = network(head)

    def losses(images):
        return model.losses(model(images), LABELS)

    loss, _ = gradient_regularisation(strength=3.0).loss(model, IMAGES, LABELS)
    step, squares = 1e-5, torch.zeros(5, dtype=torch.float64)
    with torch.no_grad():
        for place in range(32):
            moved = torch.zeros(32, dtype=torch.float64)
            moved[place] = step
            moved = moved.view(1, 2, 4, 4)
            squares += ((losses(IMAGES + moved) - losses(IMAGES - moved)) / (2 * step)).square()
        expected = losses(IMAGES).mean() + 3.0 * squares.mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    plain = torch.autograd.grad(losses(IMAGES).mean(), list(model.parameters()))
    loss.backward()
    for weight, own in zip(model.parameters(), plain, strict=True):
        assert not torch.allclose(weight.grad, own, rtol=1e-3)


def test_the_image_that_is_given_is_left_as_it_was():
    images = IMAGES.clone()
    loss, _ = gradient_regularisation().loss(linear(), images, LABELS)
    loss.backward()
    assert not images.requires_grad
    assert images.grad is None
    assert torch.equal(images, IMAGES)


def slope(model: Classifier, images: torch.Tensor, labels: torch.Tensor) -> float:
    loss, _ = gradient_regularisation(strength=1e6).loss(model, images, labels)
    return loss.item() / 1e6


def stretch(model: Classifier, images: torch.Tensor, labels: torch.Tensor) -> float:
    return orthogonality().penalty(model, images, labels).item()


@pytest.mark.parametrize(
    ("name", "parameters", "measure"),
    [
        ("gradient_regularisation", {"strength": 10.0}, slope),
        ("gradient_regularisation", {"strength": 1.0, "norm": "l1"}, slope),
        ("orthogonality", {"beta": 0.01}, stretch),
    ],
)
@pytest.mark.parametrize("architecture", ["mlp", "cnn_4conv"])
def test_two_epochs_on_real_images_lower_the_loss_and_what_is_penalised(architecture, name, parameters, measure):
    splits = real_images()
    settings = cell(architecture, name, **parameters)
    found = {}
    for kind, defense in (("natural", Defense()), ("own", make(settings.defense))):
        model = build_model(settings, splits[0])
        history = standard(model, *splits, defense, 0, epochs=2, batch_size=32, lr=2e-3)
        before, after = history["loss"].to_pylist()
        assert after < before
        found[kind] = measure(model.eval(), splits[1].images / 255, splits[1].labels)
    assert found["own"] < 0.7 * found["natural"]
    loss, _ = objective(make(settings.defense), model)(model, splits[1].images / 255, splits[1].labels)
    assert loss.isfinite()
