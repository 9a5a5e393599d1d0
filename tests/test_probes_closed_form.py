"""Gradients, distances and confidences against models whose answers are known."""

import math

import pytest
import torch
from attack_toys import SHAPE, Quadratic, Toy, linear, pixels
from probe_toys import Capped, Deep, measured, weighted
from torch import nn

CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def two_class(images, **options):
    """A linear model of two classes, the vector between their weights in pixels, margins and label probabilities."""
    model = linear(2, seed=2, **options)
    weight = model.body[1].weight.detach() / model.std.flatten()
    scores, labels = model(images).detach(), torch.arange(len(images)) % 2
    own = scores.softmax(1).gather(1, labels[:, None])[:, 0]
    return model, labels, weight[1] - weight[0], (scores[:, 0] - scores[:, 1]).abs(), own


def test_the_gradient_of_a_linear_model_is_its_weights_times_the_doubt():
    images = pixels(20)
    model, labels, gap, margin, own = two_class(images, mean=0.3, std=0.4)
    found = {name: values for (_, name), values in measured("input_gradient", model, images, labels).items()}
    torch.testing.assert_close(found["mean_abs_gradient"], (1 - own) * gap.abs().mean(), **CLOSE)
    torch.testing.assert_close(found["l1"], (1 - own) * gap.abs().sum(), **CLOSE)
    torch.testing.assert_close(found["l2"], (1 - own) * gap.norm(), **CLOSE)
    torch.testing.assert_close(found["linf"], (1 - own) * gap.abs().max(), **CLOSE)
    torch.testing.assert_close(found["true_class_confidence"], own, **CLOSE)
    torch.testing.assert_close(found["gradient_margin_ratio"], gap.norm() / margin, **CLOSE)
    assert found["zero_share"].tolist() == [0] * 20


def test_entries_that_are_exactly_zero_are_counted():
    weight = torch.zeros(2, 36)
    weight[0, :9] = 1
    model = Toy(nn.Sequential(nn.Flatten(), weighted(weight)))
    found = measured("input_gradient", model, pixels(3))
    assert found[None, "zero_share"].tolist() == [0.75] * 3


def test_a_saturated_softmax_has_no_gradient_but_a_ratio():
    images = pixels(4, dtype=torch.float32)
    found = measured("input_gradient", linear(2, scale=1e4, seed=2, dtype=torch.float32), images)
    assert found[None, "zero_share"].tolist() == [1] * 4
    assert found[None, "l2"].tolist() == [0] * 4
    assert bool((found[None, "gradient_margin_ratio"] > 0).all())


def test_a_tie_has_no_gradient_margin_ratio():
    model = Toy(nn.Sequential(nn.Flatten(), weighted(torch.ones(2, 36))))
    found = measured("input_gradient", model, pixels(2))
    assert bool(found[None, "gradient_margin_ratio"].isnan().all())


def test_the_loss_is_that_of_the_head():
    class Halves(Toy):
        def log_probabilities(self, scores):
            return (scores / 2).log_softmax(1)

    images = pixels(5)
    model, labels, gap, _, _ = two_class(images)
    halved = Halves(model.body).double()
    found = measured("input_gradient", halved, images, labels)
    own = (model(images) / 2).softmax(1).gather(1, labels[:, None])[:, 0].detach()
    torch.testing.assert_close(found[None, "l2"], (1 - own) * gap.norm() / 2, **CLOSE)


def test_the_gradient_of_a_quadratic_points_from_its_centre():
    images, labels = pixels(6), torch.zeros(6, dtype=torch.int64)
    found = measured("input_gradient", Quadratic(1.5), images, labels)
    distance = (images - 0.5).flatten(1).norm(dim=1)
    torch.testing.assert_close(
        found[None, "l2"], (1 - found[None, "true_class_confidence"]) * 2 * distance, rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("eps", [0.01, 0.05, 0.1])
def test_fgsm_leaves_right_what_is_farther_than_eps_from_the_boundary(eps):
    images = 0.4 + 0.2 * pixels(40)
    model, labels, gap, margin, _ = two_class(images)
    found = measured("fgsm_robustness", model, images, labels, eps=eps)
    correct = model(images).argmax(1) == labels
    assert found[None, "correct"].tolist() == correct.tolist()
    assert found[None, "robust"].tolist() == (correct & (margin > eps * gap.abs().sum())).tolist()
    assert eps > 0.01 or bool(found[None, "robust"].any())
    assert found[None, "unchanged_share"].tolist() == [0] * 40


def test_fgsm_does_not_move_where_the_gradient_or_the_box_stops_it():
    images = pixels(5, dtype=torch.float32)
    steep = linear(2, scale=1e4, seed=2, dtype=torch.float32)
    found = measured("fgsm_robustness", steep, images)
    assert found[None, "unchanged_share"].tolist() == [1] * 5
    assert bool(found[None, "robust"].all())
    assert not bool(measured("fgsm_robustness", steep, images, gradient="log_odds")[None, "unchanged_share"].any())
    model, labels, gap, _, _ = two_class(black := torch.zeros(1, *SHAPE, dtype=torch.float64))
    stuck = (gap < 0).double().mean()  # the loss of class 0 grows as these pixels fall
    assert measured("fgsm_robustness", model, black, labels)[None, "unchanged_share"].item() == pytest.approx(stuck)


def test_a_pixel_has_moved_if_any_of_its_channels_has():
    weight = torch.zeros(2, 3 * 36)
    weight[0, 36:72] = 1
    model = Toy(nn.Sequential(nn.Flatten(), weighted(weight)), channels=3)
    found = measured("fgsm_robustness", model, 0.5 * torch.ones(1, 3, 6, 6, dtype=torch.float64))
    assert found[None, "unchanged_share"].tolist() == [0]


def level_net():
    """Class 0 is certain where the mean pixel is above 0.465, and no gradient is left below."""
    return Deep(nn.Flatten(), weighted(torch.ones(1, 36) / 36, [-0.465]), Capped(), weighted([[1.0], [-1.0]]))


def levels(*values):
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1).expand(-1, *SHAPE)


def test_the_zero_of_the_gradient_is_found_as_many_steps_away_as_it_is():
    labels = torch.zeros(2, dtype=torch.int64)
    found = measured("zero_gradient_distance", level_net(), levels(0.5, 0.4), labels, eps=0.1, alpha=0.01)
    assert found[None, "found"].tolist() == [True, True]
    assert found[None, "steps"].tolist() == [4, 0]
    assert found[None, "linf"].tolist() == pytest.approx([0.04, 0])
    assert found[None, "l2"].tolist() == pytest.approx([0.04 * 6, 0])


def test_a_zero_beyond_the_ball_is_not_found_and_has_no_distance():
    labels = torch.zeros(1, dtype=torch.int64)
    found = measured("zero_gradient_distance", level_net(), levels(0.5), labels, eps=0.03, alpha=0.01)
    assert found[None, "found"].tolist() == [False]
    assert found[None, "steps"].tolist() == [20]
    assert math.isnan(found[None, "l2"].item())
    assert math.isnan(found[None, "linf"].item())
    found = measured("zero_gradient_distance", level_net(), levels(0.5), labels, norm="l2", eps=0.6, alpha=0.12)
    assert found[None, "l2"].item() == pytest.approx(0.24)
    assert found[None, "steps"].tolist() == [2]


@pytest.mark.parametrize("variant", ["published", "corrected"])
def test_the_map_of_a_linear_model_is_made_of_its_weights(variant):
    model, images = linear(3, std=0.5), pixels(3)
    weight = (model.body[1].weight.detach() / 0.5).tolist()
    labels = torch.tensor([0, 1, 2])
    found = measured("sensitivity_map", model, images, labels, variant=variant, store_map=True)
    for label in range(3):
        due = []
        for own, *others in zip(weight[label], *[weight[c] for c in range(3) if c != label], strict=True):
            against = sum(others)
            if variant == "published":
                due.append(max(0, own * against))
            else:
                due.append(own * abs(against) if own > 0 and against < 0 else 0)
        assert found[None, "map"][label].tolist() == pytest.approx(due)
        assert found[None, "sensitivity"][label].item() == pytest.approx(sum(due))
        assert 0 < sum(value > 0 for value in due) < 36
    assert list(measured("sensitivity_map", model, images, labels, variant=variant)) == [(None, "sensitivity")]


def test_the_map_has_the_order_of_the_image():
    weight = torch.zeros(2, 3 * 2 * 4)
    weight[0, 1 * 8 + 1 * 4 + 3], weight[1, 1 * 8 + 1 * 4 + 3] = 2, -3  # channel 1, row 1, column 3
    model = Toy(nn.Sequential(nn.Flatten(), weighted(weight)), channels=3)
    labels = torch.zeros(1, dtype=torch.int64)
    found = measured("sensitivity_map", model, pixels(1, (3, 2, 4)), labels, store_map=True)
    assert found[None, "map"].view(3, 2, 4)[1, 1, 3].item() == pytest.approx(6)
    assert found[None, "sensitivity"].item() == pytest.approx(6)


def test_confidence_margin_and_entropy_are_those_of_the_scores():
    odds = torch.tensor([[8.0, 1, 1], [1, 1, 2]], dtype=torch.float64)
    model = Toy(nn.Sequential(nn.Flatten(), weighted(torch.eye(3))))
    found = measured("confidence", model, odds.log().view(2, 1, 1, 3), torch.tensor([0, 1]))
    assert found[None, "correct"].tolist() == [True, False]
    assert found[None, "predicted"].tolist() == [0, 2]
    assert found[None, "confidence"].tolist() == pytest.approx([0.8, 0.5])
    assert found[None, "true_class_confidence"].tolist() == pytest.approx([0.8, 0.25])
    assert found[None, "margin"].tolist() == pytest.approx([math.log(8), -math.log(2)])
    halves = 0.5 * math.log(2) + 2 * 0.25 * math.log(4)
    assert found[None, "entropy"].tolist() == pytest.approx([-0.8 * math.log(0.8) - 0.2 * math.log(0.1), halves])


def test_entropy_is_zero_where_a_probability_underflows():
    found = measured("confidence", linear(3, scale=1e4), pixels(4))
    assert found[None, "entropy"].tolist() == pytest.approx([0] * 4, abs=1e-9)
    assert found[None, "confidence"].tolist() == pytest.approx([1] * 4)
