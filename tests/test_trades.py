"""TRADES: the loss and its gradient against the formula, and what its images climb."""

import pytest
import torch
from adversarial_toys import (
    EPS,
    defense,
    failing,
    far,
    labels_of,
    linear,
    natural_robustness,
    network,
    pixels,
    robustness,
    state_of,
    trained,
    watched,
)

from tasks.heads.cons import cons
from tasks.heads.softmax import softmax
from tasks.heads.softrmax import softrmax
from tasks.training.objective import Defense, objective


def measured(model, images, labels, eps=EPS, **parameters):
    """The loss, its scores, and every pass: the last is that of the crafted images."""
    torch.manual_seed(5)
    with watched(model) as seen:
        loss, scores = objective(defense("trades", eps=eps, **parameters), model)(model, images, labels)
    return loss, scores, seen


def divergences(model, images, crafted):
    """KL(F(x) || F(x')), image by image, written out."""
    clean, moved = model.log_probabilities(model(images)), model.log_probabilities(model(crafted))
    return (clean.exp() * (clean - moved)).sum(1)


@pytest.mark.parametrize("head", [softmax, softrmax, cons])
@pytest.mark.parametrize("beta", [0.5, 6.0])
def test_loss_and_gradient_are_those_of_the_formula(head, beta):
    model, images, labels = network(head).eval(), pixels(), labels_of(num_classes=3)
    loss, scores, seen = measured(model, images, labels, beta=beta)
    crafted = seen[-1][1]
    natural = -model.log_probabilities(model(images))[torch.arange(20), labels].mean()
    due = natural + beta * divergences(model, images, crafted).mean()
    assert loss.item() == pytest.approx(due.item(), rel=1e-10)
    assert torch.equal(scores, model(images))
    weights = list(model.parameters())
    for found, expected in zip(torch.autograd.grad(loss, weights), torch.autograd.grad(due, weights), strict=True):
        assert torch.allclose(found, expected, atol=1e-12)


def test_the_gradient_flows_through_the_clean_and_through_the_moved_prediction():
    model, images, labels = network().eval(), pixels(), labels_of(num_classes=3)
    loss, _, seen = measured(model, images, labels, eps=0.3)
    clean, moved = model.log_probabilities(model(images)), model.log_probabilities(model(seen[-1][1]))
    natural = -clean[torch.arange(20), labels].mean()
    weight = model.head.weight
    (found,) = torch.autograd.grad(loss, weight)
    for fixed, other in ((clean.detach(), moved), (clean, moved.detach())):
        half = natural + 6 * (fixed.exp() * (fixed - other)).sum(1).mean()
        (part,) = torch.autograd.grad(half, weight, retain_graph=True)
        assert float((part - found).abs().max()) > 1e-3


def test_with_beta_zero_it_is_natural_training():
    assert defense("trades", eps=EPS, beta=0.0) == Defense()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("head", [softmax, softrmax, cons])
def test_crafted_images_stay_in_ball_and_box_and_climb_the_divergence(norm, head):
    model, images, labels = network(head).eval(), pixels(), labels_of(num_classes=3)
    for eps in (0.0005, 0.2):
        crafted = measured(model, images, labels, eps, norm=norm)[2][-1][1]
        assert far(crafted, images, norm) <= eps * (1 + 1e-6)
        assert 0 <= float(crafted.min()) <= float(crafted.max()) <= 1
        noise = torch.randn_like(images)
        noise *= eps / (noise.abs().max() if norm == "linf" else noise.flatten(1).norm(dim=1).max())
        assert divergences(model, images, crafted).sum() > divergences(model, images, images + noise).sum()


def test_a_linear_model_is_taken_to_a_corner_to_either_side_whatever_the_label():
    model, images = linear(), 0.4 + 0.2 * pixels()
    crafted = measured(model, images, labels_of())[2][-1][1]
    across = (model.head.weight[1] - model.head.weight[0]).sign()
    side = ((crafted - images).flatten(1) / EPS * across).round(decimals=6)
    assert {tuple(row) for row in side.unique(dim=0).tolist()} == {(-1.0,) * 36, (1.0,) * 36}
    assert torch.equal(crafted, measured(model, images, 1 - labels_of())[2][-1][1])


def test_one_look_at_the_clean_images_serves_all_steps_and_crafting_is_in_evaluation_mode():
    model, images, labels = network(), pixels(), labels_of(num_classes=3)
    *_, seen = measured(model, images, labels, steps=4)
    assert [training for training, _ in seen] == [False] * 5 + [True] * 2
    assert torch.equal(seen[0][1], images)
    assert torch.equal(seen[5][1], images)
    start = seen[1][1] - images
    moved = start[(images > 0.01) & (images < 0.99)]
    assert float(moved.std()) == pytest.approx(0.001, rel=0.2)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_the_model_is_left_as_it_was_when_it_raises(after):
    model = network()
    before = state_of(model)
    with failing(model, after), pytest.raises(ZeroDivisionError):
        measured(model, pixels(), labels_of(num_classes=3), steps=3)
    assert state_of(model) == before


def test_no_number_is_read_back_from_the_device():
    model, images, labels = (each.to("meta") for each in (network(), pixels(), labels_of(num_classes=3)))
    assert measured(model, images, labels)[0].shape == ()


def test_weights_learn_under_autocast():
    model, images, labels = network().float(), pixels(dtype=torch.float32), labels_of(num_classes=3)
    with torch.autocast("cpu", torch.bfloat16):
        loss, scores, seen = measured(model, images, labels)
    assert (loss.dtype, scores.dtype, seen[-1][1].dtype) == (torch.float32, torch.bfloat16, torch.float32)
    loss.backward()
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in model.parameters())


def test_two_epochs_on_real_images_lower_the_loss():
    _, (before, after) = trained(defense("trades", eps=0.05, steps=5), epochs=2, count=300)
    assert after < before


def test_real_images_are_harder_to_attack_after_it():
    model, _ = trained(defense("trades", eps=EPS, steps=5), epochs=6)
    assert robustness(model) > natural_robustness(6) + 0.15
