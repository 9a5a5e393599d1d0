"""The exhaustive few-pixel attack against brute force and against models whose answer is known."""

import itertools

import pytest
import torch
from attack_toys import Toy, attacked, conv_net, linear, pixels
from torch import nn

from tasks import registry
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import frozen
from tasks.streams import Streams

L0 = Budget("l0", None)
GREY, COLOUR = (1, 16, 14), (3, 8, 9)


def brute(model, image, label, top, levels):
    """The fewest of the top pixels that fool with some combination of 0 and 1; None if none does."""
    channels = image.shape[0]
    for count in range(1, levels + 1):
        for values in itertools.product((0.0, 1.0), repeat=channels * count):
            candidate = image.clone().flatten(1)
            candidate[:, top[:count]] = torch.tensor(values, dtype=image.dtype).view(channels, count)
            if int(model(candidate.view(1, *image.shape)).argmax(1)) != int(label):
                return count
    return None


def ranked(model, images, labels):
    images = images.clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(images), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    return gradient.abs().mean(1).flatten(1).argsort(dim=1, descending=True)


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_it_fools_exactly_what_brute_force_fools_and_with_as_few_pixels(shape):
    model, images, levels = linear(3, shape=shape), pixels(25, shape), {1: 3, 3: 2}[shape[0]]
    labels = model(images).argmax(1)
    tops = ranked(model, images, labels)
    rows = attacked(model, "few_pixel", L0, images, pixels=levels)
    due = [brute(model, image, label, top, levels) for image, label, top in zip(images, labels, tops, strict=True)]
    assert [row["success"] for row in rows] == [count is not None for count in due]
    assert {None, 1, levels} <= set(due)
    assert all(row["l0"] == count for row, count in zip(rows, due, strict=True) if count is not None)


@pytest.mark.parametrize("at_once", [1, 3, 8, 1000])
def test_how_many_combinations_a_pass_holds_changes_no_image(at_once):
    images = pixels(12)
    usual, other = (
        attacked(conv_net(), "few_pixel", L0, images, pixels=3, **options)
        for options in ({}, {"combinations_per_pass": at_once})
    )
    for row, same in zip(usual, other, strict=True):
        assert (row["adv_pred"], row["l2"], row["steps"]) == (same["adv_pred"], same["l2"], same["steps"])


def test_a_sample_that_withstands_has_tried_every_combination():
    rows = attacked(conv_net(), "few_pixel", L0, pixels(20), pixels=3)
    assert any(row["success"] for row in rows)
    for row in rows:
        if not row["success"]:
            assert row["steps"] == 2 + 4 + 8
            assert row["forwards"] == 1 + 2 + 4 + 8
        assert row["backwards"] == 1
        assert row["l0"] <= 3


def test_more_pixels_never_fool_less_and_keep_what_fewer_fooled():
    images = pixels(30)
    one, three = (attacked(conv_net(), "few_pixel", L0, images, pixels=count) for count in (1, 3))
    assert all(other["l2"] == row["l2"] for row, other in zip(one, three, strict=True) if row["success"])
    assert sum(row["success"] for row in three) > sum(row["success"] for row in one)


def test_what_withstands_comes_back_at_its_smallest_margin():
    model, images = linear(2, seed=2), 0.4 + 0.2 * pixels(20)
    with torch.no_grad():
        model.body[1].bias.copy_(torch.tensor([1000.0, 0.0]))
    weight = model.body[1].weight.detach()
    slope = weight[0] - weight[1]
    place = slope.abs().argmax()
    margin = model(images).detach()
    due = margin[:, 0] - margin[:, 1] - slope[place] * images.flatten(1)[:, place] + slope[place].clamp(max=0)
    rows = attacked(model, "few_pixel", L0, images)
    assert not any(row["success"] for row in rows)
    assert [row["adv_margin"] for row in rows] == pytest.approx(due.tolist())


def test_a_target_is_reached_where_brute_force_reaches_it():
    model, images = linear(3), 0.4 + 0.2 * pixels(10)
    rows = attacked(model, "few_pixel", L0, images, targets="all", pixels=3)
    assert len(rows) == 20
    assert all(row["adv_pred"] == row["target"] for row in rows if row["success"])
    assert any(row["success"] for row in rows)


class Saturated(nn.Module):
    """A logistic unit so steep that its gradient underflows to exactly 0 in float32."""

    def forward(self, images):
        own = torch.sigmoid(4000 * (images.flatten(1)[:, 7:8] - 0.2))
        return torch.cat([own, torch.full_like(own, 0.5)], 1)


def test_without_any_gradient_position_decides_and_nothing_breaks():
    images = torch.full((3, 1, 4, 4), 0.6)
    model = Toy(Saturated())
    rows = attacked(model, "few_pixel", L0, images, pixels=2)
    assert all(not row["success"] and row["l0"] in {1, 2} for row in rows)
    (found, *_) = called(model, images, pixels=2)
    assert bool((found.flatten(1)[:, 2:] == images.flatten(1)[:, 2:]).all())
    rows = attacked(model, "few_pixel", L0, images, pixels=8)  # the pixel that matters is the eighth
    assert all(row["success"] for row in rows)


def test_a_saturated_head_hides_the_ranking_from_the_published_gradient_only():
    model = linear(2, scale=1000.0, seed=2, shape=GREY, dtype=torch.float32)
    images = pixels(20, GREY, dtype=torch.float32)
    log_odds, head = (attacked(model, "few_pixel", L0, images, pixels=3, gradient=g) for g in ("log_odds", "head"))
    assert sum(row["success"] for row in log_odds) > sum(row["success"] for row in head)


def called(model, images, **parameters):
    labels = model(images).argmax(1).detach()
    with frozen(model):
        counted = CountedModel(model, torch.arange(len(images)), L0, num_classes=2)
        streams = Streams("", torch.arange(len(images)))
        return registry.load("attack", "few_pixel")(counted, images, labels, L0, streams, **parameters)


def test_a_misclassified_image_comes_back_untouched():
    model, images = linear(3), pixels(6)
    wrong = (model(images).argmax(1) + 1) % 3
    with frozen(model):
        counted = CountedModel(model, torch.arange(6), L0, num_classes=3)
        found, steps = registry.load("attack", "few_pixel")(
            counted, images, wrong, L0, Streams("", torch.arange(6)), pixels=2
        )
    assert torch.equal(found, images)
    assert steps.tolist() == [0] * 6


def test_standardised_images_are_painted_black_and_white_too():
    images = 0.4 + 0.2 * pixels(10, COLOUR)
    plain, standard = (
        attacked(linear(3, shape=COLOUR, mean=0.4, std=0.25), "few_pixel", Budget("l0", None, space), images, pixels=2)
        for space in ("pixel", "standardised")
    )
    for row, other in zip(plain, standard, strict=True):
        assert (row["success"], row["l0"], row["adv_pred"]) == (other["success"], other["l0"], other["adv_pred"])
        assert other["l2"] == pytest.approx(row["l2"] / 0.25, rel=1e-5)
