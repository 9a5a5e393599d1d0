"""FAB against models whose nearest adversarial point is known, and its projections against bisection."""

import importlib
import math

import pytest
import torch
from attack_toys import Quadratic, attacked, conv_net, linear, pixels, seeded

from tasks import registry
from tasks.attacks._fab_projection import step_to_hyperplane
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import frozen
from tasks.streams import Streams

ORDER = {"linf": torch.inf, "l2": 2}
DUAL = {"linf": 1, "l2": 2}
NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])


def called(model, images, labels, budget, targets=None, **parameters):
    """The attack itself, without the judge: images, steps, and the model that counted."""
    with frozen(model):
        rows = torch.arange(len(images))
        num_classes = model(images).shape[1]
        counted = CountedModel(model, rows, budget, num_classes=num_classes, targets=targets)
        attack = registry.load("attack", "fab")
        found, steps = attack(counted, images, labels, budget, Streams("key", rows, targets), **parameters)
    return found, steps, counted


def predicted(model, images):
    return model(images).argmax(1).detach()


def lengths(delta, norm):
    return torch.linalg.vector_norm(delta.flatten(1), ORDER[norm], dim=1)


def nearest(model, images, norm):
    """The distance to the nearest class boundary of a linear model without a box, (n,)."""
    weight = model.body[1].weight.detach()
    scores = model(images).detach()
    labels = scores.argmax(1)
    gaps = scores.gather(1, labels[:, None]) - scores
    sizes = torch.linalg.vector_norm(weight[labels][:, None] - weight, DUAL[norm], dim=2)
    return torch.where(sizes > 0, gaps / sizes, torch.inf).amin(1)


def bisected(points, normal, offset, norm):
    """The shortest step to the hyperplane in the box [0, 1], by bisection of the multiplier."""
    toward = normal * offset.sign()[:, None]
    size = toward.abs()
    speed = size if norm == "l2" else (size > 0).to(size)
    room = torch.where(toward > 0, 1 - points, points)
    low, high = torch.zeros_like(offset), torch.full_like(offset, 1e12)
    for _ in range(300):
        middle = (low + high) / 2
        short = (size * torch.minimum(speed * middle[:, None], room)).sum(1) < offset.abs()
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return toward.sign() * torch.minimum(speed * high[:, None], room)


def hyperplanes(count, size, seed):
    """Points with values at both ends of the box, normals of all magnitudes with zeros, and offsets: some too far."""
    generator = seeded(seed)
    points, rounded, zeroed, share = torch.rand(4, count, size, generator=generator, dtype=torch.float64)
    points = torch.where(rounded < 0.3, points.round(), points)
    magnitude, sign = torch.randn(2, count, size, generator=generator, dtype=torch.float64)
    normal = torch.where(zeroed < 0.2, 0.0, sign * 10**magnitude)
    return points, normal, normal.abs().sum(1) * (share[:, 0] - 0.5)


BOX = (torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))


@NORMS
@pytest.mark.parametrize("size", [1, 2, 5, 40, 200])
def test_projections_are_those_of_bisection(norm, size):
    points, normal, offset = hyperplanes(100, size, size)
    step = step_to_hyperplane(points, normal, offset, BOX, norm)
    assert torch.allclose(step, bisected(points, normal, offset, norm), atol=1e-9)
    assert bool(((points + step >= -1e-12) & (points + step <= 1 + 1e-12)).all())
    reach = (normal * torch.where(normal * offset.sign()[:, None] > 0, 1 - points, -points)).sum(1)
    due = torch.where(reach.abs() < offset.abs(), reach, offset)
    assert 0 < int((reach.abs() < offset.abs()).sum()) < 100
    assert torch.allclose((normal * step).sum(1), due)


@NORMS
def test_no_point_of_the_hyperplane_in_the_box_is_nearer(norm):
    points, normal, offset = hyperplanes(50, 6, 3)
    step = step_to_hyperplane(points, normal, offset, BOX, norm)
    drawn = torch.rand(20000, 6, generator=seeded(4), dtype=torch.float64)
    for row in range(50):
        crossed = ((drawn - points[row]) @ normal[row]) * offset[row].sign() >= offset[row].abs()
        if bool(crossed.any()):
            assert float(lengths(drawn[crossed] - points[row], norm).min()) >= float(lengths(step[row][None], norm))


@NORMS
def test_projections_without_a_box_have_their_closed_form(norm):
    points, normal, offset = hyperplanes(50, 30, 5)
    step = step_to_hyperplane(points, normal, 0.01 * offset, None, norm)
    assert torch.allclose((normal * step).sum(1), 0.01 * offset)
    due = 0.01 * offset.abs() / torch.linalg.vector_norm(normal, DUAL[norm], dim=1)
    assert torch.allclose(lengths(step, norm), due)


@NORMS
def test_a_projection_does_not_depend_on_its_neighbours(norm):
    points, normal, offset = hyperplanes(40, 50, 6)
    whole = step_to_hyperplane(points, normal, offset, BOX, norm)
    for row in range(40):
        alone = step_to_hyperplane(points[row : row + 1], normal[row : row + 1], offset[row : row + 1], BOX, norm)
        assert torch.allclose(alone[0], whole[row], rtol=0, atol=1e-13)


@NORMS
@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("target_classes", [None, 9])
def test_a_linear_model_is_fooled_at_its_analytic_distance(norm, num_classes, target_classes):
    model, images = linear(num_classes), 0.4 + 0.2 * pixels(20)
    rows = attacked(model, "fab", Budget(norm, None), images, steps=15, target_classes=target_classes)
    for row, distance in zip(rows, nearest(model, images, norm).tolist(), strict=True):
        assert row["success"]
        assert distance <= row[norm] * (1 + 1e-6) <= 1.001 * distance + 1e-6


@NORMS
def test_the_box_is_part_of_the_nearest_point(norm):
    model = linear(2, seed=3)
    images = pixels(20)
    images = torch.where(pixels(20, seed=9) < 0.6, images.round(), images)
    scores, weight = model(images).detach(), model.body[1].weight.detach()
    step = bisected(images.flatten(1), (weight[1] - weight[0]).expand(20, -1), scores[:, 0] - scores[:, 1], norm)
    rows = attacked(model, "fab", Budget(norm, None), images, steps=30)
    without = nearest(model, images, norm)
    due = lengths(step, norm)
    assert bool((due > 1.1 * without).any())
    for row, distance in zip(rows, due.tolist(), strict=True):
        assert row["success"]
        assert distance <= row[norm] * (1 + 1e-6) <= 1.005 * distance + 1e-6


@NORMS
def test_a_quadratic_model_is_fooled_within_a_percent(norm):
    images = 0.5 + 0.4 * (pixels(20) - 0.5)
    rows = attacked(Quadratic(1.0), "fab", Budget(norm, None), images, steps=30)
    for row, image in zip(rows, images, strict=True):
        away = (image - 0.5).abs()
        if norm == "l2":
            distance = 1.0 - float(away.norm())
        else:  # 36 t^2 + 2 t |away|_1 + |away|_2^2 = 1
            half = float(away.sum()) / 36
            distance = -half + math.sqrt(half**2 + (1 - float(away.square().sum())) / 36)
        assert row["success"]
        assert distance <= row[norm] * (1 + 1e-6) <= 1.01 * distance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@NORMS
def test_nothing_stalls_before_the_boundary(norm, dtype):
    rows = attacked(conv_net(dtype), "fab", Budget(norm, None), pixels(30, dtype=dtype), steps=15, eta=1.0)
    assert all(row["success"] for row in rows)


def test_it_ends_no_farther_than_deepfool():
    images, budget = pixels(30), Budget("l2", None)
    fab, deepfool = (attacked(conv_net(), name, budget, images, steps=30) for name in ("fab", "deepfool"))
    assert sum(row["l2"] for row in fab) < sum(row["l2"] for row in deepfool)


@NORMS
def test_scores_may_be_shifted_and_scaled(norm):
    images, model = pixels(20), linear(4)
    plain = attacked(model, "fab", Budget(norm, None), images, steps=10)
    with torch.no_grad():
        model.body[1].weight.mul_(50)
        model.body[1].bias.mul_(50).sub_(100)
    for row, other in zip(plain, attacked(model, "fab", Budget(norm, None), images, steps=10), strict=True):
        assert math.isclose(row[norm], other[norm], rel_tol=1e-6)


@NORMS
def test_every_target_is_reached_and_none_nearer_than_the_nearest_class(norm):
    model, images = linear(5), 0.4 + 0.2 * pixels(10)
    rows = attacked(model, "fab", Budget(norm, None), images, targets="all", steps=30)
    chosen = [row for row in rows if row["attacked"]]
    assert len(chosen) == 40
    assert all(row["adv_pred"] == row["target"] and row["success"] for row in chosen)
    due = dict(zip(range(100, 110), nearest(model, images, norm).tolist(), strict=True))
    least = {sample: min(row[norm] for row in chosen if row["sample"] == sample) for sample in due}
    for sample, distance in due.items():
        assert distance <= least[sample] * (1 + 1e-6) <= 1.001 * distance + 1e-6


def test_aiming_at_one_class_takes_one_backward_a_step():
    model, images = conv_net(), pixels(10)
    labels = predicted(model, images)
    _, steps, counted = called(model, images, labels, Budget("l2", None), steps=5, target_classes=2)
    assert steps.tolist() == [10] * 10
    assert counted.backwards.tolist() == [10] * 10
    _, _, counted = called(model, images, labels, Budget("l2", None), steps=5)
    assert counted.backwards.tolist() == [3 + 4 * 2] * 10


def test_with_an_eps_what_is_fooled_within_it_takes_part_in_no_further_run():
    model, images = conv_net(), pixels(30)
    labels = predicted(model, images)
    options = {"steps": 5, "target_classes": 3, "restarts": 2}
    free, _, _ = called(model, images, labels, Budget("l2", None), **options)
    eps = float(lengths(free - images, "l2").median())
    found, steps, _ = called(model, images, labels, Budget("l2", eps), **options)
    distance = lengths(found - images, "l2")
    assert set(steps[distance > eps].tolist()) == {30}
    assert bool((steps[distance <= eps] < 30).any())
    assert bool((steps >= 5).all())


@NORMS
def test_restarts_end_no_farther(norm):
    images, budget = pixels(30), Budget(norm, None)
    once, again = (attacked(conv_net(), "fab", budget, images, steps=12, restarts=count) for count in (1, 3))
    assert all(row["success"] for row in again)
    pairs = [(row[norm], other[norm]) for row, other in zip(once, again, strict=True) if row["success"]]
    assert len(pairs) >= 25
    assert all(best <= first for first, best in pairs)
    assert any(best < first for first, best in pairs)


@NORMS
def test_what_comes_back_is_the_nearest_fooling_point_evaluated(norm):
    model, images, seen = conv_net(), pixels(12), []
    labels = predicted(model, images)
    handle = model.register_forward_hook(lambda _, inputs, scores: seen.append((inputs[0].detach(), scores.detach())))
    found, _, _ = called(model, images, labels, Budget(norm, None), steps=12)
    handle.remove()
    distances = torch.stack(
        [lengths(points - images, norm).masked_fill(scores.argmax(1) == labels, torch.inf) for points, scores in seen]
    )
    assert torch.allclose(lengths(found - images, norm), distances.amin(0), rtol=1e-9)


@NORMS
@pytest.mark.parametrize("options", [{"target_classes": 2, "restarts": 2}, {"targets": "all"}])
def test_no_neighbour_changes_a_row(norm, options):
    images = pixels(9)
    first, *others = (
        [
            {key: value for key, value in row.items() if key != "seconds"}
            for row in attacked(conv_net(), "fab", Budget(norm, None), images, steps=6, batch_size=size, **options)
        ]
        for size in (64, 4, 1)
    )
    assert all(rows == first for rows in others)


@NORMS
def test_a_flat_model_is_not_fooled_and_nothing_comes_back(norm):
    model = linear(3)
    with torch.no_grad():
        model.body[1].weight.zero_()
        model.body[1].bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    for box in (True, False):
        rows = attacked(model, "fab", Budget(norm, None, box=box), pixels(3), steps=4, restarts=2)
        assert all(not row["success"] and row["l2"] is None and row["steps"] == 8 for row in rows)


@NORMS
def test_without_a_box_the_distance_is_that_to_the_hyperplane(norm):
    model, images = linear(3), torch.round(pixels(20))
    rows = attacked(model, "fab", Budget(norm, None, box=False), images, steps=10)
    for row, distance in zip(rows, nearest(model, images, norm).tolist(), strict=True):
        assert distance <= row[norm] * (1 + 1e-6) <= 1.001 * distance + 1e-6


def test_what_is_misclassified_already_is_its_own_nearest_point():
    model, images = conv_net(), pixels(10)
    labels = (predicted(model, images) + 1) % 4
    found, steps, counted = called(model, images, labels, Budget("linf", None), steps=5)
    assert torch.equal(found, images)
    assert steps.tolist() == [0] * 10
    assert counted.forwards.tolist() == [1] * 10


@NORMS
def test_colours_oblong_images_and_a_hundred_classes_work(norm):
    shape = (3, 4, 7)
    images = torch.round(pixels(6, shape, dtype=torch.float32))
    model = linear(100, shape=shape, dtype=torch.float32)
    rows = attacked(model, "fab", Budget(norm, None), images, steps=3)
    assert all(row["success"] for row in rows)


@NORMS
def test_two_gradients_a_step_find_what_all_find(norm, monkeypatch):
    images, budget = pixels(20), Budget(norm, None)
    few = attacked(conv_net(), "fab", budget, images, steps=20)
    assert {row["backwards"] for row in few} == {3 + 19 * 2}
    assert {row["forwards"] for row in few} == {1 + 2 * 20 + 3}
    monkeypatch.setattr(importlib.import_module("tasks.attacks.fab"), "_RIVALS", 9)
    every = attacked(conv_net(), "fab", budget, images, steps=20)
    assert {row["backwards"] for row in every} == {20 * 3}
    assert sum(row[norm] for row in few) == pytest.approx(sum(row[norm] for row in every), rel=0.01)


@NORMS
def test_one_class_at_a_time_finds_what_all_classes_find(norm):
    together, apart = (
        attacked(conv_net(), "fab", Budget(norm, None), pixels(30), steps=30, target_classes=number)
        for number in (None, 3)
    )
    assert sum(row[norm] for row in apart) == pytest.approx(sum(row[norm] for row in together), rel=0.03)


def test_with_an_eps_the_same_samples_succeed_for_fewer_forwards():
    images, options = pixels(20), {"steps": 10, "target_classes": 3}
    free = attacked(conv_net(), "fab", Budget("linf", None), images, **options)
    eps = sorted(row["linf"] for row in free)[10] * 1.01
    held = attacked(conv_net(), "fab", Budget("linf", eps, beyond="failure"), images, **options)
    assert [row["success"] for row in held] == [row["linf"] <= eps for row in free]
    assert all(row["forwards"] <= other["forwards"] for row, other in zip(held, free, strict=True))
    assert sum(row["forwards"] for row in held) < 0.8 * sum(row["forwards"] for row in free)


def test_what_is_found_is_a_little_beyond_the_boundary():
    rows = attacked(conv_net(), "fab", Budget("l2", None), pixels(20), steps=20, target_classes=3, restarts=2)
    assert all(row["adv_margin"] < -1e-7 * row["clean_margin"] for row in rows)


def test_the_final_search_draws_back_what_was_stepped_too_far():
    model, images, budget = linear(3), 0.4 + 0.2 * pixels(20), Budget("l2", None)
    near, far = (attacked(model, "fab", budget, images, steps=1, eta=eta) for eta in (1.05, 1.5))
    assert [row["l2"] for row in far] == pytest.approx([row["l2"] for row in near], rel=1e-3)


@NORMS
def test_standardised_distances_are_pixel_distances_over_std(norm):
    model, images = linear(mean=0.5, std=0.25), torch.round(pixels(10))
    pixel, standard = (
        attacked(model, "fab", Budget(norm, None, space), images, steps=10) for space in ("pixel", "standardised")
    )
    for row, other in zip(pixel, standard, strict=True):
        assert row[norm] / 0.25 == pytest.approx(other[norm], rel=2e-3)
