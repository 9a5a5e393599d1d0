"""DeepFool against models whose nearest adversarial point is known."""

import math

import pytest
import torch
from attack_toys import Quadratic, attacked, conv_net, linear, pixels

from tasks.config import Budget

MINIMAL = Budget("l2", None)


def nearest(model, images):
    """The distance to the nearest class boundary of a linear model, (n,)."""
    weight = model.body[1].weight.detach()
    scores = model(images).detach()
    labels = scores.argmax(1)
    gaps = scores.gather(1, labels[:, None]) - scores
    lengths = (weight[labels][:, None] - weight).norm(dim=2)
    return torch.where(lengths > 0, gaps / lengths, torch.inf).amin(1)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_a_linear_model_is_fooled_at_its_analytic_distance(num_classes, variant):
    model, images = linear(num_classes), 0.4 + 0.2 * pixels(40)
    rows = attacked(model, "deepfool", MINIMAL, images, variant=variant)
    due = nearest(model, images)
    assert all(row["success"] for row in rows)
    for row, distance in zip(rows, due.tolist(), strict=True):
        assert distance <= row["l2"] <= 1.02 * (distance + 1e-4) + 1e-6


def test_the_corrected_variant_ends_closer_than_its_overshoot():
    model, images = linear(10), 0.4 + 0.2 * pixels(40)
    rows = attacked(model, "deepfool", MINIMAL, images, overshoot=0.5)
    for row, distance in zip(rows, nearest(model, images).tolist(), strict=True):
        assert distance <= row["l2"] <= 1.03 * distance + 1e-4


def test_a_quadratic_model_is_fooled_within_three_percent():
    images = 0.5 + 0.4 * (pixels(40) - 0.5)
    model = Quadratic(1.0)
    rows = attacked(model, "deepfool", MINIMAL, images)
    for row, image in zip(rows, images, strict=True):
        assert row["success"]
        distance = 1.0 - float((image - 0.5).norm())
        assert distance <= row["l2"] <= 1.03 * distance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_stalls_before_the_boundary_even_without_overshoot(dtype):
    rows = attacked(conv_net(dtype), "deepfool", MINIMAL, pixels(40, dtype=dtype), overshoot=0.0)
    assert all(row["success"] for row in rows)


def test_standardised_distances_are_pixel_distances_over_std():
    images = 0.4 + 0.2 * pixels(20)
    pixel = attacked(linear(mean=0.5, std=0.25), "deepfool", MINIMAL, images)
    standard = attacked(linear(mean=0.5, std=0.25), "deepfool", Budget("l2", None, "standardised"), images)
    for row, other in zip(pixel, standard, strict=True):
        assert row["l2"] / 0.25 == pytest.approx(other["l2"], rel=0.02)


def test_the_box_in_the_loop_finds_what_clipping_at_the_end_loses():
    images = torch.round(pixels(40))
    model = linear(3, seed=4)
    loop, end = (attacked(model, "deepfool", MINIMAL, images, clip=clip) for clip in ("loop", "end"))
    assert all(row["success"] for row in loop)
    assert sum(row["success"] for row in end) < 20


def test_the_published_variant_makes_every_update_but_reports_one_fewer():
    rows = attacked(conv_net(), "deepfool", MINIMAL, pixels(20), variant="published", steps=1, overshoot=0.0)
    assert all(row["steps"] == 0 for row in rows)
    assert all(row["l2"] > 0 for row in rows)


def test_fewer_gradients_find_the_same_distance():
    images = pixels(40)
    pruned, full = (attacked(conv_net(), "deepfool", MINIMAL, images, variant=v) for v in ("corrected", "published"))
    mean = [sum(row["l2"] for row in rows) / 40 for rows in (pruned, full)]
    assert mean[0] <= mean[1]
    assert sum(row["backwards"] for row in pruned) < sum(row["backwards"] for row in full)


def test_one_candidate_needs_one_gradient_a_step():
    rows = attacked(conv_net(), "deepfool", MINIMAL, pixels(20), candidates=1)
    assert all(row["backwards"] <= row["steps"] + 1 for row in rows)


def test_a_flat_model_is_left_alone_and_stays_finite():
    model = linear(3)
    with torch.no_grad():
        model.body[1].weight.zero_()
        model.body[1].bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    rows = attacked(model, "deepfool", Budget("l2", None, box=False), pixels(3))
    assert all(not row["success"] and row["l2"] == 0 for row in rows)


def test_scores_may_be_shifted_and_scaled():
    images = pixels(20)
    plain = attacked(linear(4), "deepfool", MINIMAL, images)
    model = linear(4)
    with torch.no_grad():
        model.body[1].weight.mul_(50)
        model.body[1].bias.mul_(50).sub_(100)
    for row, other in zip(plain, attacked(model, "deepfool", MINIMAL, images), strict=True):
        assert math.isclose(row["l2"], other["l2"], rel_tol=1e-6)
