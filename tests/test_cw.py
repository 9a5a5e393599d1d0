"""CW against models whose nearest adversarial point is known."""

import math

import pytest
import torch
from attack_toys import Quadratic, Toy, attacked, conv_net, linear, pixels, seeded
from torch import nn

from tasks import registry
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import frozen
from tasks.streams import Streams

MINIMAL = Budget("l2", None)
SHORT = {"search_steps": 5, "steps": 100}


def called(model, images, labels, *, targets=None, budget=MINIMAL, **parameters):
    """The attack itself, without the judge: images, steps, and the model that counted."""
    with frozen(model):
        num_classes = model(images).shape[1]
        counted = CountedModel(model, torch.arange(len(images)), budget, num_classes=num_classes, targets=targets)
        streams = Streams("", torch.arange(len(images)))
        found, steps = registry.load("attack", "cw")(counted, images, labels, budget, streams, **parameters)
    return found, steps, counted


def predicted(model, images):
    with torch.no_grad():
        return model(images).argmax(1)


def to_boundaries(model, images, labels):
    """The distances of images to the boundary between their label and each class of a linear model, (n, classes)."""
    weight = model.body[1].weight.detach()
    scores = model(images).detach()
    gaps = scores.gather(1, labels[:, None]) - scores
    lengths = (weight[labels][:, None] - weight).norm(dim=2)
    return torch.where(lengths > 0, gaps / lengths, torch.inf)


def lengths(found, images):
    return (found - images).flatten(1).norm(dim=1)


@pytest.mark.parametrize(("num_classes", "factor"), [(2, 1.03), (3, 1.03), (100, 1.15)])
def test_a_linear_model_is_fooled_at_its_analytic_distance(num_classes, factor):
    model, images = linear(num_classes), 0.4 + 0.2 * pixels(20)
    rows = attacked(model, "cw", MINIMAL, images, **SHORT)
    due = to_boundaries(model, images, predicted(model, images)).amin(1)
    for row, distance in zip(rows, due.tolist(), strict=True):
        assert row["success"]
        assert distance - 1e-6 <= row["l2"] <= factor * distance + 3e-3


def test_a_target_of_a_linear_model_is_reached_at_its_distance_and_is_what_is_reached():
    model, images = linear(2, seed=3), 0.45 + 0.1 * pixels(20)
    labels = predicted(model, images)
    found, _, _ = called(model, images, labels, targets=1 - labels, **SHORT)
    due = to_boundaries(model, images, labels).amin(1)
    assert bool((lengths(found, images) <= 1.03 * due + 1e-3).all())
    three, labels = linear(3), predicted(linear(3), images)
    found, _, _ = called(three, images, labels, targets=(labels + 1) % 3, **SHORT)
    assert torch.equal(predicted(three, found), (labels + 1) % 3)
    assert bool((lengths(found, images) >= to_boundaries(three, images, labels).amin(1) - 1e-9).all())


def test_a_quadratic_model_is_fooled_within_three_percent():
    images = 0.5 + 0.4 * (pixels(20) - 0.5)
    for row, image in zip(attacked(Quadratic(1.0), "cw", MINIMAL, images, **SHORT), images, strict=True):
        distance = 1.0 - float((image - 0.5).norm())
        assert row["success"]
        assert distance <= row["l2"] <= 1.03 * distance + 1e-3


@pytest.mark.parametrize(("scale", "shift"), [(1000, 0), (2**20, 0), (1e-3, 0), (1, -100), (1, 100)])
def test_scores_may_be_shifted_and_scaled(scale, shift):
    images, model = pixels(20), linear(4)
    plain = attacked(linear(4), "cw", MINIMAL, images, **SHORT)
    with torch.no_grad():
        model.body[1].weight.mul_(scale)
        model.body[1].bias.mul_(scale).add_(shift)
    for row, other in zip(plain, attacked(model, "cw", MINIMAL, images, **SHORT), strict=True):
        assert row["success"]
        assert other["success"]
        assert row["l2"] == pytest.approx(other["l2"], rel=1e-6 if scale == 2**20 else 0.05)


@pytest.mark.parametrize("variable", ["projected", "tanh"])
def test_pixels_at_exactly_0_and_1_move(variable):
    images = torch.randint(0, 2, (10, 1, 6, 6), generator=seeded(4)).double()
    model = linear(2, seed=2)
    rows = attacked(
        model, "cw", MINIMAL, images, variable=variable, lr=0.01 if variable == "projected" else 0.5, **SHORT
    )
    for row in rows:
        assert row["success"]
        assert row["linf"] > 0.01
        assert row["l0"] > 3


def test_the_image_as_variable_comes_closer_than_tanh_where_pixels_lie_at_the_ends():
    images = pixels(20).round()
    near, far = (
        attacked(linear(2, seed=2), "cw", MINIMAL, images, variable=variable, search_steps=3, steps=100)
        for variable in ("projected", "tanh")
    )
    assert all(row["success"] for row in near)
    far_lengths = [row["l2"] if row["success"] else math.inf for row in far]
    assert all(row["l2"] <= 1.05 * other for row, other in zip(near, far_lengths, strict=True))


@pytest.mark.parametrize("initial_c", [1, 1e-6, 100])
def test_any_initial_c_ends_at_about_the_same_distance(initial_c):
    images = 0.4 + 0.2 * pixels(10)
    model = linear(3)
    due = to_boundaries(model, images, predicted(model, images)).amin(1)
    rows = attacked(model, "cw", MINIMAL, images, initial_c=initial_c, search_steps=9, steps=200)
    for row, distance in zip(rows, due.tolist(), strict=True):
        assert row["success"]
        assert row["l2"] <= 1.1 * distance + 1e-3


def test_confidence_is_a_margin_in_units_of_scores():
    rows = attacked(linear(3), "cw", MINIMAL, 0.4 + 0.2 * pixels(10), confidence=2, **SHORT)
    assert all(row["adv_margin"] <= -2 for row in rows)
    assert all(row["adv_margin"] >= -2.5 for row in rows)


def test_an_unreachable_confidence_still_returns_what_fools():
    rows = attacked(linear(3), "cw", MINIMAL, pixels(10), confidence=1e6, search_steps=2, steps=30)
    assert all(row["success"] for row in rows)


def test_without_a_box_the_distance_is_the_hyperplanes():
    images, model = pixels(10).round(), linear(2, seed=4)
    due = to_boundaries(model, images, predicted(model, images)).amin(1)
    rows = attacked(model, "cw", Budget("l2", None, box=False), images, variable="tanh", **SHORT)
    for row, distance in zip(rows, due.tolist(), strict=True):
        assert row["success"]
        assert distance - 1e-6 <= row["l2"] <= 1.03 * distance + 3e-3


def test_standardised_distances_are_pixel_distances_over_std():
    images = 0.4 + 0.2 * pixels(10)
    pixel = attacked(linear(mean=0.5, std=0.25), "cw", MINIMAL, images, **SHORT)
    standard = attacked(linear(mean=0.5, std=0.25), "cw", Budget("l2", None, "standardised"), images, **SHORT)
    for row, other in zip(pixel, standard, strict=True):
        assert row["l2"] / 0.25 == pytest.approx(other["l2"], rel=0.03)


def test_a_misclassified_image_comes_back_after_no_steps():
    model, images = conv_net(), pixels(10)
    labels = predicted(model, images)
    labels[:5] = (labels[:5] + 1) % 4
    found, steps, counted = called(model, images, labels, **SHORT)
    assert torch.equal(found[:5], images[:5])
    assert steps[:5].tolist() == [0] * 5
    assert counted.forwards[:5].tolist() == [1] * 5
    assert bool((steps[5:] > 0).all())


def test_what_a_sample_costs_does_not_depend_on_its_neighbours():
    model, images = conv_net(), pixels(20)
    labels = predicted(model, images)
    found, steps, counted = called(model, images, labels, **SHORT)
    for row in range(0, 20, 7):
        alone, steps_alone, counted_alone = called(model, images[row : row + 1], labels[row : row + 1], **SHORT)
        assert torch.allclose(alone[0], found[row], rtol=0, atol=1e-9)
        assert int(steps_alone) == int(steps[row])
        assert int(counted_alone.forwards) == int(counted.forwards[row])
    assert len(steps.unique()) > 3


def test_aborting_early_saves_most_updates_and_loses_little():
    images = pixels(20)
    early, full = (
        attacked(conv_net(), "cw", MINIMAL, images, search_steps=3, steps=200, abort_early=abort)
        for abort in (True, False)
    )
    assert all(row["steps"] == 600 for row in full)
    assert all(row["forwards"] == row["steps"] + 4 for row in full)
    assert sum(row["steps"] for row in early) < 6000
    for row, other in zip(early, full, strict=True):
        assert row["success"]
        assert row["l2"] <= 1.05 * other["l2"] + 1e-3


def test_a_gradient_that_vanishes_at_the_image_misleads_no_c():
    class Saturated(Toy):
        def forward(self, images):
            return torch.tanh(super().forward(images))

    plain, images = linear(2, seed=2, scale=4.0), 0.4 + 0.2 * pixels(20)
    model = Saturated(nn.Sequential(*plain.body)).double()
    labels = predicted(plain, images)
    due = to_boundaries(plain, images, labels).amin(1)
    rows = attacked(model, "cw", MINIMAL, images, labels=labels)
    for row, distance in zip(rows, due.tolist(), strict=True):
        assert row["success"]
        assert row["l2"] <= 1.1 * distance + 1e-3


def test_a_flat_model_is_left_alone_and_stays_finite():
    model = linear(3)
    with torch.no_grad():
        model.body[1].weight.zero_()
        model.body[1].bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    rows = attacked(model, "cw", Budget("l2", None, box=False), pixels(3), **SHORT)
    assert all(not row["success"] and row["l2"] == 0 for row in rows)


def test_the_published_variant_searches_no_c_and_hardly_succeeds():
    rows = attacked(conv_net(), "cw", MINIMAL, pixels(20), variant="published", steps=50)
    assert all(row["steps"] == 50 for row in rows if row["l2"] > 0)
    assert sum(row["success"] for row in rows) < 20
    assert all(row["success"] for row in attacked(conv_net(), "cw", MINIMAL, pixels(20), **SHORT))


def test_the_published_variant_is_adam_on_the_printed_objective():
    model, images = linear(2, seed=2), 0.4 + 0.2 * pixels(5)
    labels = predicted(model, images)
    found, steps, _ = called(model, images, labels, variant="published", steps=3, lr=0.02)
    start = ((2 * images - 1) * (1 - 1e-6)).atanh()
    variable = start.clone().requires_grad_()
    adam = torch.optim.Adam([variable], lr=0.02)
    points = []
    for _ in range(4):
        made = (variable.tanh() + 1) / 2
        points.append(made.detach())
        scores = model(made)
        margin = scores.gather(1, labels[:, None])[:, 0] - scores.gather(1, 1 - labels[:, None])[:, 0]
        loss = (made - images).square().sum() + 1e-4 * margin.clamp(min=-0.01).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    model.zero_grad()
    assert steps.tolist() == [3] * 5
    margins = torch.stack([(model(p).detach() * (1 - 2 * nn.functional.one_hot(labels, 2))).sum(1) for p in points])
    best = margins.argmax(0)
    assert torch.allclose(found, torch.stack(points)[best, torch.arange(5)], rtol=0, atol=1e-7)


def test_looking_seldom_who_is_done_finds_the_same_and_exceeds_no_steps(monkeypatch):
    images = pixels(20)
    often = attacked(conv_net(), "cw", MINIMAL, images, search_steps=5, steps=50)
    monkeypatch.setattr(CountedModel, "sync_every", 4)
    seldom = attacked(conv_net(), "cw", MINIMAL, images, search_steps=5, steps=50)
    for row, other in zip(often, seldom, strict=True):
        assert row["l2"] == other["l2"]
        assert row["steps"] == other["steps"]
        assert row["forwards"] <= other["forwards"]
