"""SparseFool against models for which the fewest pixels are known, and its linear solver against the paper's loop."""

import pytest
import torch
from attack_toys import attacked, conv_net, linear, pixels

from tasks.attacks.sparsefool import _crossed
from tasks.cases import Budget

SPARSE = Budget("l0", None)
BOTH = pytest.mark.parametrize("variant", ["corrected", "published"])


def solved(start, end, normal, low, high):
    """Algorithm 1 as the paper's code has it: one value at a time."""
    normal = normal / normal.norm()
    point, weights = start.clone(), normal.clone()
    while float(normal @ (point - end)) < 0 and weights.any():
        place = weights.abs().argmax()
        ahead = (float(normal @ (point - end)) - 0.001) / float(weights[place].abs())
        point[place] += max(abs(ahead), 1e-4) * weights[place].sign()
        point = point.clamp(low, high)
        weights[place] = 0
    return point


@pytest.mark.parametrize("stretch", [0.2, 1.0, 3.0])
def test_the_solver_ends_where_the_loop_over_values_ends(stretch):
    images, normals = pixels(30, (2, 4, 5)), pixels(30, (2, 4, 5), seed=6) - 0.5
    images[:10] = images[:10].round()
    ends = images + pixels(30, (2, 4, 5), seed=7) * normals
    low, high = (images - 0.3).clamp(min=0), (images + 0.3).clamp(max=1)
    found = _crossed(images, stretch * (ends - images), normals, (low, high), by_room=False)
    for row in range(30):
        start, normal = images[row].flatten(), normals[row].flatten()
        plane = start + stretch * (ends[row].flatten() - start)
        due = solved(start, plane, normal, low[row].flatten(), high[row].flatten())
        assert torch.allclose(found[row].flatten(), due, atol=1e-9)


def fewest(model, images):
    """How many pixels at the ends of the box it takes to cross the one boundary of a linear model, (n,)."""
    weight, scores = model.body[1].weight.detach(), model(images).detach()
    labels = scores.argmax(1)
    away = weight[1 - labels] - weight[labels]
    gain = torch.where(away > 0, 1 - images.flatten(1), images.flatten(1)) * away.abs()
    reached = gain.sort(dim=1, descending=True).values.cumsum(1) > (scores[:, 0] - scores[:, 1]).abs()[:, None]
    return reached.int().argmax(1) + 1


@pytest.mark.parametrize("sparsity", [2.0, 3.0, 5.0])
def test_on_a_linear_model_no_pixel_too_many_is_changed(sparsity):
    model, images = linear(2, seed=2), pixels(40)
    rows = attacked(model, "sparsefool", SPARSE, images, sparsity=sparsity)
    assert all(row["success"] for row in rows)
    assert [row["l0"] for row in rows] == fewest(model, images).tolist()
    assert max(row["l0"] for row in rows) >= 3


@BOTH
def test_a_plane_farther_off_takes_fewer_steps(variant):
    near, far = (
        attacked(conv_net(), "sparsefool", SPARSE, pixels(20), sparsity=sparsity, variant=variant)
        for sparsity in (0.5, 3.0)
    )
    assert all(row["success"] for row in far)
    assert sum(row["steps"] for row in near) > sum(row["steps"] for row in far)


def test_the_corrected_variant_changes_fewer_pixels_than_the_published_one():
    images = pixels(30)
    corrected, published = (
        attacked(conv_net(), "sparsefool", SPARSE, images, variant=variant) for variant in ("corrected", "published")
    )
    assert all(row["success"] for row in corrected)
    assert sum(row["l0"] for row in corrected) < 0.7 * sum(row["l0"] for row in published)


@BOTH
@pytest.mark.parametrize("space", ["pixel", "standardised"])
@pytest.mark.parametrize("box", [True, False])
def test_no_pixel_moves_by_more_than_delta(variant, space, box):
    model, images, delta = linear(3, mean=0.3, std=0.4), pixels(20), 30 / 255
    rows = attacked(model, "sparsefool", Budget("l0", None, space, box), images, delta=delta, variant=variant)
    unit = 0.4 if space == "standardised" else 1
    assert all(row["linf"] * unit <= delta + 1e-6 for row in rows)
    assert max(row["linf"] * unit for row in rows) == pytest.approx(delta, rel=0.03)
    wide = attacked(model, "sparsefool", Budget("l0", None, space, box), images, variant=variant)
    assert sum(row["l0"] for row in wide) < sum(row["l0"] for row in rows)


def test_channel_values_move_one_by_one_but_pixels_are_what_is_saved():
    shape = (3, 5, 8)
    rows = attacked(linear(4, shape=shape), "sparsefool", SPARSE, pixels(20, shape))
    published = attacked(linear(4, shape=shape), "sparsefool", SPARSE, pixels(20, shape), variant="published")
    assert all(row["success"] for row in rows)
    assert sum(row["l0"] for row in rows) < sum(row["l0"] for row in published)
    assert any(row["l0_values"] < 3 * row["l0"] for row in rows)


@BOTH
def test_a_target_is_what_a_targeted_attack_ends_in(variant):
    rows = attacked(linear(4), "sparsefool", SPARSE, pixels(10), targets="all", variant=variant)
    assert len(rows) == 30
    assert all(row["success"] and row["adv_pred"] == row["target"] for row in rows)


@BOTH
def test_a_misclassified_image_comes_back_as_it_is(variant):
    model, images = conv_net(), pixels(10)
    wrong = (model(images).argmax(1) + 1) % 4
    rows = attacked(model, "sparsefool", SPARSE, images, wrong, attacked="all", variant=variant)
    assert all(row["adv_pred"] == row["clean_pred"] != row["label"] for row in rows)
    assert all(row["l0"] == 0 and row["steps"] == 0 for row in rows)


@BOTH
def test_a_flat_model_is_left_alone(variant):
    model = linear(3)
    with torch.no_grad():
        model.body[1].weight.zero_()
        model.body[1].bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    rows = attacked(model, "sparsefool", SPARSE, pixels(3), steps=2, variant=variant)
    assert all(not row["success"] and row["l0"] == 0 and row["steps"] == 2 for row in rows)


@BOTH
def test_scores_may_be_shifted_and_scaled(variant):
    model, images = linear(4), pixels(20)
    plain = attacked(model, "sparsefool", SPARSE, images, variant=variant)
    with torch.no_grad():
        model.body[1].weight.mul_(50)
        model.body[1].bias.mul_(50).sub_(100)
    scaled = attacked(model, "sparsefool", SPARSE, images, variant=variant)
    assert [row["l0"] for row in plain] == [row["l0"] for row in scaled]


@pytest.mark.parametrize("targets", [None, "all"])
@BOTH
def test_no_neighbour_changes_a_row(targets, variant):
    images, tables = pixels(6), []
    for size in (1, 4, 64):
        rows = attacked(
            conv_net(), "sparsefool", SPARSE, images, batch_size=size, targets=targets, steps=3, variant=variant
        )
        tables.append([{key: value for key, value in row.items() if key != "seconds"} for row in rows])
    assert tables[0] == tables[1] == tables[2]


def test_the_search_for_fewer_pixels_costs_a_few_passes():
    rows = attacked(linear(2, seed=2), "sparsefool", SPARSE, pixels(20))
    for row in rows:
        assert row["steps"] == 1
        assert row["forwards"] <= 7 + 2 * (1 + 6)
        assert row["backwards"] <= 7 + 2
