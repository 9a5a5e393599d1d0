"""SuperDeepFool against models whose nearest adversarial point is known, and against DeepFool."""

import pytest
import torch
from attack_toys import Quadratic, Toy, attacked, conv_net, linear, pixels, seeded
from test_cw import predicted, to_boundaries
from torch import nn

from tasks import registry
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import frozen
from tasks.streams import Streams

MINIMAL = Budget("l2", None)


def called(model, images, labels, *, targets=None, **parameters):
    """The attack itself, without the judge: images, steps, and the model that counted."""
    with frozen(model):
        num_classes = model(images).shape[1]
        counted = CountedModel(model, torch.arange(len(images)), MINIMAL, num_classes=num_classes, targets=targets)
        streams = Streams("", torch.arange(len(images)))
        found, steps = registry.load("attack", "superdeepfool")(counted, images, labels, MINIMAL, streams, **parameters)
    return found, steps, counted


def curved(seed=3) -> Toy:
    """A smooth network whose boundaries bend within the box."""
    first, last = nn.Linear(36, 12), nn.Linear(12, 4)
    with torch.no_grad():
        for parameter in [*first.parameters(), *last.parameters()]:
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(seed)))
    return Toy(nn.Sequential(nn.Flatten(), first, nn.Tanh(), last), 0.5, 0.5).double()


@pytest.mark.parametrize("num_classes", [2, 3, 10, 100])
def test_a_linear_model_is_fooled_at_its_analytic_distance(num_classes):
    model, images = linear(num_classes), 0.4 + 0.2 * pixels(30)
    rows = attacked(model, "superdeepfool", MINIMAL, images)
    due = to_boundaries(model, images, predicted(model, images)).amin(1)
    for row, distance in zip(rows, due.tolist(), strict=True):
        assert row["success"]
        assert distance - 1e-6 <= row["l2"] <= 1.001 * distance + 1e-5


def test_a_quadratic_model_is_fooled_within_a_thousandth():
    images = 0.5 + 0.4 * (pixels(30) - 0.5)
    for row, image in zip(attacked(Quadratic(1.0), "superdeepfool", MINIMAL, images), images, strict=True):
        distance = 1.0 - float((image - 0.5).norm())
        assert row["success"]
        assert distance <= row["l2"] <= 1.001 * distance


def test_the_mean_distance_is_smaller_than_deepfools():
    images, model = pixels(40), curved()
    plain, projected = (attacked(model, name, MINIMAL, images) for name in ("deepfool", "superdeepfool"))
    assert all(row["success"] for row in projected)
    plain_mean, projected_mean = (sum(row["l2"] for row in rows) / 40 for rows in (plain, projected))
    assert projected_mean < 0.99 * plain_mean


def test_the_perturbation_is_normal_to_the_boundary_that_it_ends_at():
    images, model = 0.3 + 0.4 * pixels(20), curved()
    labels = predicted(model, images)
    found, _, _ = called(model, images, labels)
    points = found.clone().requires_grad_()
    scores = model(points)
    gap = scores.gather(1, predicted(model, found)[:, None]) - scores.gather(1, labels[:, None])
    (normal,) = torch.autograd.grad(gap.sum(), points)
    inside = ((found > 0) & (found < 1)).flatten(1).all(1)
    alike = torch.cosine_similarity((found - images).flatten(1), normal.flatten(1))
    assert int(inside.sum()) >= 10
    assert float(alike[inside].mean()) > 0.97


def test_a_target_is_what_is_reached_at_its_distance():
    model, images = linear(2, seed=3), 0.45 + 0.1 * pixels(20)
    labels = predicted(model, images)
    found, _, _ = called(model, images, labels, targets=1 - labels)
    due = to_boundaries(model, images, labels).amin(1)
    assert torch.allclose((found - images).flatten(1).norm(dim=1), due, rtol=1e-3, atol=1e-5)
    bent = curved()
    labels = predicted(bent, images)
    found, _, _ = called(bent, images, labels, targets=(labels + 1) % 4)
    assert float((predicted(bent, found) == (labels + 1) % 4).double().mean()) > 0.9


def test_a_boundary_that_bends_away_ends_all_the_same():
    rows = attacked(curved(), "superdeepfool", MINIMAL, pixels(40))
    assert all(row["steps"] < 100 for row in rows)


@pytest.mark.parametrize(("scale", "shift"), [(1000, 0), (1, -100)])
def test_scores_may_be_shifted_and_scaled(scale, shift):
    images, model = pixels(20), linear(4)
    plain = attacked(linear(4), "superdeepfool", MINIMAL, images)
    with torch.no_grad():
        model.body[1].weight.mul_(scale)
        model.body[1].bias.mul_(scale).add_(shift)
    for row, other in zip(plain, attacked(model, "superdeepfool", MINIMAL, images), strict=True):
        assert row["success"]
        assert row["l2"] == pytest.approx(other["l2"], rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_stalls_before_the_boundary_even_without_overshoot(dtype):
    rows = attacked(conv_net(dtype), "superdeepfool", MINIMAL, pixels(40, dtype=dtype), overshoot=0.0)
    assert all(row["success"] for row in rows)


def test_a_misclassified_image_comes_back_after_no_steps():
    model, images = conv_net(), pixels(10)
    labels = predicted(model, images)
    labels[:5] = (labels[:5] + 1) % 4
    found, steps, counted = called(model, images, labels)
    assert torch.equal(found[:5], images[:5])
    assert steps[:5].tolist() == [0] * 5
    assert counted.forwards[:5].tolist() == [1] * 5
    assert bool((steps[5:] > 0).all())


def test_after_the_first_step_two_classes_get_a_gradient():
    model, images = linear(10), 0.4 + 0.2 * pixels(20)
    _, steps, counted = called(model, images, predicted(model, images))
    assert counted.backwards.tolist() == (9 + 2 * steps).tolist()


def test_a_flat_model_is_left_alone_and_stays_finite():
    model = linear(3)
    with torch.no_grad():
        model.body[1].weight.zero_()
        model.body[1].bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    rows = attacked(model, "superdeepfool", Budget("l2", None, box=False), pixels(3), inner_steps=5)
    assert all(not row["success"] and row["l2"] == 0 and row["steps"] == 5 for row in rows)
