"""DeepFool against models whose nearest adversarial point is known."""

import math

import pytest
import torch
from attack_toys import Quadratic, attacked, conv_net, linear, pixels, seeded

from tasks.cases import Budget

MINIMAL = Budget("l2", None)
LINF = Budget("linf", None)
DUAL = {"l2": 2, "linf": 1}


def boundaries(model, images, norm="l2"):
    """The distances to the class boundaries of a linear model, (n, classes); infinite to the own class."""
    weight = model.body[1].weight.detach()
    scores = model(images).detach()
    labels = scores.argmax(1)
    gaps = scores.gather(1, labels[:, None]) - scores
    slopes = (weight[labels][:, None] - weight).norm(p=DUAL[norm], dim=2)
    return torch.where(slopes > 0, gaps / slopes, torch.inf)


def nearest(model, images, norm="l2"):
    """The distance to the nearest of them, (n,)."""
    return boundaries(model, images, norm).amin(1)


@pytest.mark.parametrize("num_classes", [2, 3, 10, 100])
@pytest.mark.parametrize("variant", ["corrected", "published"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_linear_model_is_fooled_at_its_analytic_distance(num_classes, variant, norm):
    model, images = linear(num_classes), 0.4 + 0.2 * pixels(40)
    rows = attacked(model, "deepfool", Budget(norm, None), images, variant=variant, candidates=num_classes)
    due = nearest(model, images, norm)
    assert all(row["success"] for row in rows)
    for row, distance in zip(rows, due.tolist(), strict=True):
        assert distance <= row[norm] <= 1.02 * (distance + 1e-4) + 1e-6


def stepped(model, image, label, *, norm, steps, overshoot, length, clip):
    """The published rule for one image, class by class: the point it ends at and the updates made."""
    q, total, point, made = DUAL[norm], torch.zeros_like(image), image, 0
    while int(model(point[None]).argmax()) == label and made < steps:
        point = point.detach().requires_grad_()
        scores = model(point[None])[0]
        ways = {}
        for k in set(range(len(scores))) - {label}:
            gap = scores[k] - scores[label]
            (w,) = torch.autograd.grad(gap, point, retain_graph=True)
            ways[k] = float(gap.detach().abs() / w.norm(p=q)), w
        way, w = min(ways.values(), key=lambda pair: pair[0])
        total = total + length(way) * (w / w.norm() if norm == "l2" else w.sign())
        point = (image + (1 + overshoot) * total).detach()
        point = point.clamp(0, 1) if clip == "loop" else point
        made += 1
    return point.clamp(0, 1), made


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize(
    ("parameters", "length"),
    [
        ({"clip": "loop", "overshoot": 0.02}, lambda way: way + 1e-4),
        ({"clip": "end", "overshoot": 0.01, "min_step": 1e-4}, lambda way: max(way, 1e-4)),
    ],
    ids=["Ingendaa 2024", "Alvarez Cabrera 2020"],
)
def test_the_published_variants_step_as_the_studies_did(norm, parameters, length):
    model, images = conv_net(), pixels(12)
    labels = model(images).argmax(1).tolist()
    rows = attacked(model, "deepfool", Budget(norm, None), images, variant="published", **parameters)
    rule = {"norm": norm, "steps": 50, "overshoot": parameters["overshoot"], "clip": parameters["clip"]}
    for row, image, label in zip(rows, images, labels, strict=True):
        point, made = stepped(model, image, label, length=length, **rule)
        assert row["l2"] == pytest.approx(float((point - image).norm()), rel=1e-6)
        assert row["linf"] == pytest.approx(float((point - image).abs().max()), rel=1e-6)
        assert row["steps"] == min(made, 49)


def test_a_step_is_never_shorter_than_the_least():
    model, images = linear(2, seed=2), 0.4 + 0.2 * pixels(20)
    due = nearest(model, images)
    least = float(due.median())
    rows = attacked(model, "deepfool", MINIMAL, images, min_step=least, overshoot=0.001, variant="published")
    assert [row["l2"] for row in rows] == pytest.approx([1.001 * max(way, least) for way in due.tolist()], rel=1e-5)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_a_target_is_what_a_targeted_attack_ends_in(norm, variant):
    model, images = linear(5), 0.4 + 0.2 * pixels(20)
    rows = attacked(model, "deepfool", Budget(norm, None), images, targets="all", variant=variant)
    due = boundaries(model, images, norm)
    assert len(rows) == 80
    for row in rows:
        assert row["success"]
        assert row["adv_pred"] == row["target"]
        assert row[norm] >= float(due[row["sample"] - 100, row["target"]]) - 1e-6
    assert sum(row[norm] <= 1.02 * float(due[row["sample"] - 100, row["target"]]) + 2e-4 for row in rows) >= 20


def test_with_two_classes_the_target_is_the_nearest_other_class():
    model, images = conv_net(), pixels(10)
    model.body.append(torch.nn.Linear(4, 2).double())
    free, aimed = (attacked(model, "deepfool", MINIMAL, images, targets=targets) for targets in (None, "all"))
    assert [row["l2"] for row in free] == pytest.approx([row["l2"] for row in aimed], rel=1e-9)


@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_a_misclassified_image_comes_back_as_it_is(variant):
    model, images = conv_net(), pixels(10)
    wrong = (model(images).argmax(1) + 1) % 4
    rows = attacked(model, "deepfool", MINIMAL, images, wrong, attacked="all", variant=variant)
    assert all(row["adv_pred"] == row["clean_pred"] != row["label"] for row in rows)
    assert all(row["l2"] == 0 and row["steps"] == 0 for row in rows)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_what_the_box_keeps_from_moving_counts_for_nothing(norm):
    model = linear(2, seed=2)
    images = 0.4 + 0.2 * pixels(20)
    images[:, :, :3] = torch.randint(0, 2, (20, 1, 3, 6), generator=seeded(1)).double()
    scores, weight = model(images).detach(), model.body[1].weight.detach()
    labels = scores.argmax(1)
    away = (weight[1 - labels] - weight[labels]).view_as(images)
    free = away * torch.where(away > 0, images < 1, images > 0)
    due = (scores[:, 0] - scores[:, 1]).abs() / free.flatten(1).norm(p=DUAL[norm], dim=1)
    rows = attacked(model, "deepfool", Budget(norm, None), images)
    inside = [(row, distance) for row, distance in zip(rows, due.tolist(), strict=True) if distance < 0.3]
    assert len(inside) >= 5
    for row, distance in inside:
        assert row["success"]
        assert row[norm] == pytest.approx(distance, rel=0.01, abs=2e-4)


def test_a_tiny_gradient_does_not_throw_a_point_across_the_box():
    images = 0.5 + 0.01 * (pixels(20) - 0.5)
    corrected, published = (
        attacked(Quadratic(1.0), "deepfool", MINIMAL, images, variant=variant) for variant in ("corrected", "published")
    )
    for row, image in zip(corrected, images, strict=True):
        assert row["l2"] <= 1.03 * (1.0 - float((image - 0.5).norm()))
    assert all(row["l2"] > 1.5 for row in published)


@pytest.mark.parametrize("targets", [None, "all"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_no_neighbour_changes_a_row(norm, targets):
    images, tables = pixels(8), []
    for size in (1, 3, 64):
        rows = attacked(conv_net(), "deepfool", Budget(norm, None), images, batch_size=size, targets=targets)
        tables.append([{key: value for key, value in row.items() if key != "seconds"} for row in rows])
    assert tables[0] == tables[1] == tables[2]


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
@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("targets", [None, "all"])
def test_nothing_stalls_before_the_boundary_even_without_overshoot(dtype, norm, targets):
    images = pixels(20, dtype=dtype)
    rows = attacked(conv_net(dtype), "deepfool", Budget(norm, None), images, overshoot=0.0, targets=targets)
    reached = sum(row["success"] for row in rows)
    assert reached == len(rows) if targets is None else reached >= 0.9 * len(rows)


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


@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_one_candidate_needs_one_gradient_a_step(variant):
    rows = attacked(conv_net(), "deepfool", MINIMAL, pixels(20), candidates=1, variant=variant)
    assert all(row["backwards"] == row["steps"] + 1 for row in rows)


def test_a_step_costs_one_pass_each_way():
    rows = attacked(linear(10), "deepfool", MINIMAL, pixels(20))
    assert all(row["backwards"] == row["steps"] + 3 for row in rows)
    assert all(row["forwards"] == row["steps"] + 2 for row in rows)


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
