"""Szegedy's L-BFGS attack against models whose nearest adversarial point is known."""

import pytest
import torch
from attack_toys import Quadratic, attacked, conv_net, linear, pixels, seeded
from test_cw import predicted, to_boundaries

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
        found, steps = registry.load("attack", "lbfgs")(counted, images, labels, MINIMAL, streams, **parameters)
    return found, steps, counted


@pytest.mark.parametrize("num_classes", [2, 3, 100])
def test_a_linear_model_is_fooled_at_its_analytic_distance(num_classes):
    model, images = linear(num_classes, scale=5.0), 0.4 + 0.2 * pixels(20)
    rows = attacked(model, "lbfgs", MINIMAL, images, search_steps=15)
    due = to_boundaries(model, images, predicted(model, images)).amin(1)
    ratios = [row["l2"] / distance for row, distance in zip(rows, due.tolist(), strict=True)]
    assert all(row["success"] for row in rows)
    assert min(ratios) >= 1 - 1e-6
    # The loss of the label pulls towards all other classes at once, not towards the nearest.
    assert max(ratios) <= {2: 1.001, 3: 1.2, 100: 2}[num_classes]


def test_a_target_is_what_is_reached_at_its_distance():
    model, images = linear(2, seed=3), 0.45 + 0.1 * pixels(20)
    labels = predicted(model, images)
    found, _, _ = called(model, images, labels, targets=1 - labels, search_steps=15)
    due = to_boundaries(model, images, labels).amin(1)
    lengths = (found - images).flatten(1).norm(dim=1)
    assert bool((lengths >= due - 1e-9).all())
    assert bool((lengths <= 1.001 * due + 1e-6).all())
    three, labels = linear(3), predicted(linear(3), images)
    found, _, _ = called(three, images, labels, targets=(labels + 1) % 3)
    assert torch.equal(predicted(three, found), (labels + 1) % 3)


def test_a_quadratic_model_is_fooled_within_three_percent():
    images = 0.5 + 0.4 * (pixels(20) - 0.5)
    for row, image in zip(attacked(Quadratic(1.0), "lbfgs", MINIMAL, images, search_steps=15), images, strict=True):
        distance = 1.0 - float((image - 0.5).norm())
        assert row["success"]
        assert distance <= row["l2"] <= 1.03 * distance


@pytest.mark.parametrize(("scale", "shift"), [(1000, 0), (1, -100), (1, 100)])
def test_scores_may_be_shifted_and_scaled(scale, shift):
    images, model = pixels(20), linear(2)
    plain = attacked(linear(2), "lbfgs", MINIMAL, images, search_steps=15)
    with torch.no_grad():
        model.body[1].weight.mul_(scale)
        model.body[1].bias.mul_(scale).add_(shift)
    for row, other in zip(plain, attacked(model, "lbfgs", MINIMAL, images, search_steps=15), strict=True):
        assert row["success"]
        assert other["success"]
        assert row["l2"] == pytest.approx(other["l2"], rel=0.03)


@pytest.mark.parametrize("initial_c", [1, 1e-3, 1e3])
def test_any_initial_c_ends_at_about_the_same_distance(initial_c):
    images, model = 0.4 + 0.2 * pixels(10), linear(2)
    due = to_boundaries(model, images, predicted(model, images)).amin(1)
    rows = attacked(model, "lbfgs", MINIMAL, images, initial_c=initial_c, search_steps=20)
    for row, distance in zip(rows, due.tolist(), strict=True):
        assert row["success"]
        assert row["l2"] <= 1.03 * distance


def test_pixels_at_both_ends_of_the_box_move_inwards_and_never_out():
    images = torch.randint(0, 2, (10, 1, 6, 6), generator=seeded(4)).double()
    model = linear(2, seed=2)
    labels = predicted(model, images)
    found, _, _ = called(model, images, labels)
    assert bool(((found >= 0) & (found <= 1)).all())
    assert bool((predicted(model, found) != labels).all())
    moved = (found - images).abs().flatten(1) > 1e-3
    assert bool((moved.sum(1) > 3).all())


def test_in_the_box_the_nearest_point_of_a_linear_model_is_found():
    images = torch.randint(0, 2, (10, 1, 6, 6), generator=seeded(4)).double()
    model = linear(2, seed=2)
    rows = attacked(model, "lbfgs", MINIMAL, images, search_steps=15)
    weight = model.body[1].weight.detach()
    for row, image in zip(rows, images, strict=True):
        scores = model(image[None]).detach()[0]
        gap, toward = (scores[0] - scores[1]).abs(), (weight[1] - weight[0]) * (1 if scores[0] > scores[1] else -1)
        free = torch.where(toward > 0, image.flatten() < 1, image.flatten() > 0)
        # All pixels start at an end, so those that may move are known, and none reaches the other end.
        due = float(gap / toward[free].norm())
        assert due * float(toward[free].abs().max() / toward[free].norm()) < 1
        assert due - 1e-6 <= row["l2"] <= 1.02 * due


def test_without_a_box_pixels_leave_it():
    images, model = pixels(10).round(), linear(2, seed=4)
    due = to_boundaries(model, images, predicted(model, images)).amin(1)
    rows = attacked(model, "lbfgs", Budget("l2", None, box=False), images, search_steps=15)
    for row, distance in zip(rows, due.tolist(), strict=True):
        assert row["success"]
        assert distance - 1e-6 <= row["l2"] <= 1.02 * distance


def test_standardised_distances_are_pixel_distances_over_std():
    images = 0.4 + 0.2 * pixels(10)
    pixel = attacked(linear(2, mean=0.5, std=0.25), "lbfgs", MINIMAL, images, search_steps=15)
    budget = Budget("l2", None, "standardised")
    standard = attacked(linear(2, mean=0.5, std=0.25), "lbfgs", budget, images, search_steps=15)
    for row, other in zip(pixel, standard, strict=True):
        assert row["l2"] / 0.25 == pytest.approx(other["l2"], rel=0.03)


def test_a_misclassified_image_comes_back_after_no_steps():
    model, images = conv_net(), pixels(10)
    labels = predicted(model, images)
    labels[:5] = (labels[:5] + 1) % 4
    found, steps, counted = called(model, images, labels)
    assert torch.equal(found[:5], images[:5])
    assert steps[:5].tolist() == [0] * 5
    assert counted.forwards[:5].tolist() == [1] * 5
    assert bool((steps[5:] > 0).all())


def test_more_history_needs_no_more_evaluations_than_little():
    images = pixels(30)
    little, much = (attacked(conv_net(), "lbfgs", MINIMAL, images, history=history) for history in (1, 10))
    assert all(row["success"] for row in little + much)
    assert sum(row["forwards"] for row in much) <= 1.2 * sum(row["forwards"] for row in little)
    assert sum(row["l2"] for row in much) <= 1.05 * sum(row["l2"] for row in little)


def test_no_search_evaluates_more_than_its_steps():
    rows = attacked(conv_net(), "lbfgs", MINIMAL, pixels(20), search_steps=3, steps=4)
    assert all(row["steps"] <= 12 for row in rows)
    assert all(row["forwards"] == row["steps"] + 1 + 5 * row["success"] for row in rows)


def test_a_flat_model_is_left_alone_and_stays_finite():
    model = linear(3)
    with torch.no_grad():
        model.body[1].weight.zero_()
        model.body[1].bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    rows = attacked(model, "lbfgs", Budget("l2", None, box=False), pixels(3))
    assert all(not row["success"] and row["l2"] == 0 for row in rows)


def test_looking_seldom_who_is_done_finds_the_same_and_exceeds_no_steps(monkeypatch):
    images = pixels(20)
    often = attacked(conv_net(), "lbfgs", MINIMAL, images)
    monkeypatch.setattr(CountedModel, "sync_every", 4)
    seldom = attacked(conv_net(), "lbfgs", MINIMAL, images)
    for row, other in zip(often, seldom, strict=True):
        assert row["l2"] == pytest.approx(other["l2"], rel=1e-5)
        assert row["steps"] == other["steps"]
        assert row["forwards"] <= other["forwards"]
