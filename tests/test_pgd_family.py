"""FGSM, BIM and PGD with targets, their losses, and PGD until the gradient is gone."""

import pytest
import torch
from attack_toys import Toy, attacked, conv_net, linear, pixels
from torch import nn

from tasks import registry
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import frozen, margins
from tasks.streams import Streams

SIGN = ["fgsm", "bim", "pgd"]


def called(name, model, images, budget, *, labels=None, targets=None, num_classes=3, **parameters):
    """The attack itself, without the judge: images, steps, and the model that counted."""
    labels = model(images).argmax(1).detach() if labels is None else labels
    with frozen(model):
        counted = CountedModel(model, torch.arange(len(images)), budget, num_classes=num_classes, targets=targets)
        streams = Streams("one key", torch.arange(len(images)), targets)
        found, steps = registry.load("attack", name)(counted, images, labels, budget, streams, **parameters)
    return found, steps, counted


def gaps(model, images, targets):
    """Best other score minus the target's: negative where the aim is reached."""
    with torch.no_grad():
        return -margins(model(images), targets)


@pytest.mark.parametrize(("name", "norm"), [*((name, "linf") for name in SIGN), ("pgd", "l2")])
def test_a_target_of_a_linear_model_is_approached_to_its_closed_form(name, norm):
    model, images, eps = linear(2, seed=2), 0.4 + 0.2 * pixels(30), {"linf": 0.02, "l2": 0.06}[norm]
    targets = 1 - model(images).argmax(1)
    options = {"fgsm": {}, "bim": {"stop": "never"}, "pgd": {"stop": "never", "alpha": eps / 5, "steps": 60}}[name]
    found, _, _ = called(name, model, images, Budget(norm, eps), targets=targets, num_classes=2, **options)
    weight = model.body[1].weight.detach()
    reach = eps * (weight[0] - weight[1]).norm(p=1 if norm == "linf" else 2)
    due = gaps(model, images, targets) - reach
    assert torch.allclose(gaps(model, found, targets), due, rtol=1e-3, atol=1e-3)
    assert 0 < int((due < 0).sum()) < 30


@pytest.mark.parametrize("name", SIGN)
def test_all_targets_through_the_judge_succeed_where_the_closed_form_says(name):
    model, images, eps = linear(2, seed=2), 0.4 + 0.2 * pixels(20), 0.02
    rows = attacked(model, name, Budget("linf", eps), images, targets="all")
    weight = model.body[1].weight.detach()
    reachable = gaps(model, images, 1 - model(images).argmax(1)) < eps * (weight[0] - weight[1]).abs().sum()
    assert len(rows) == 20
    assert all(row["target"] == 1 - row["label"] for row in rows)
    assert {row["sample"] for row in rows if row["success"]} == {100 + i for i, ok in enumerate(reachable) if ok}


@pytest.mark.parametrize("name", SIGN)
def test_another_class_than_the_target_does_not_count(name):
    model, images = linear(3), 0.4 + 0.2 * pixels(30)
    targets = (model(images).argmax(1) + 1) % 3
    found, _, counted = called(name, model, images, Budget("linf", 0.02), targets=targets)
    predicted = model(found).argmax(1)
    reached = predicted == targets
    assert 0 < int(reached.sum()) < 30
    if name != "fgsm":
        assert bool((counted.forwards[~reached] == counted.forwards.max()).all())


def test_a_two_class_target_is_the_untargeted_attack():
    model, images = linear(2, seed=2), pixels(20)
    targets = 1 - model(images).argmax(1)
    for name in ("fgsm", "bim"):
        plain = called(name, model, images, Budget("linf", 0.1), num_classes=2)
        aimed = called(name, model, images, Budget("linf", 0.1), num_classes=2, targets=targets)
        assert torch.equal(plain[0], aimed[0])
        assert torch.equal(plain[1], aimed[1])


@pytest.mark.parametrize("name", ["bim", "pgd"])
def test_what_has_reached_its_aim_already_comes_back_with_no_step(name):
    model, images = linear(3), pixels(12)
    options = {"random_start": False} if name == "pgd" else {}
    predicted = model(images).argmax(1)
    for labels, targets in (((predicted + 1) % 3, None), ((predicted + 1) % 3, predicted)):
        found, steps, counted = called(
            name, model, images, Budget("linf", 0.1), labels=labels, targets=targets, **options
        )
        assert torch.equal(found, images)
        assert steps.tolist() == [0] * 12
        assert counted.forwards.tolist() == [1] * 12


def test_restarts_with_targets_are_spent_on_survivors_only():
    model, images = conv_net(), pixels(30)
    targets = (model(images).argmax(1) + 1) % 4
    budget = Budget("linf", 0.1)
    found, _, _ = called("pgd", model, images, budget, targets=targets, num_classes=4, steps=6)
    again, steps, counted = called("pgd", model, images, budget, targets=targets, num_classes=4, steps=6, restarts=3)
    early, late = model(found).argmax(1) == targets, model(again).argmax(1) == targets
    assert 0 < int(early.sum()) < 30
    assert torch.equal(again[early], found[early])
    assert bool(late[early].all())
    assert counted.forwards[~late].unique().tolist() == [21]
    assert steps[~late].unique().tolist() == [18]


@pytest.mark.parametrize("stop", ["success", "never"])
def test_restarts_without_success_keep_the_best_point_of_all(stop):
    model, images, budget = conv_net(), pixels(30), Budget("linf", 0.03)
    gap = [
        -gaps(model, called("pgd", model, images, budget, num_classes=4, steps=2, stop=stop, restarts=count)[0], labels)
        for labels in [model(images).argmax(1)]
        for count in (1, 5)
    ]
    unfooled = gap[0] >= 0
    assert bool((gap[1][unfooled] <= gap[0][unfooled]).all())
    assert bool((gap[1][unfooled] < gap[0][unfooled]).any())


def test_the_published_score_loss_ignores_the_other_classes():
    model, images = linear(3), 0.4 + 0.2 * pixels(20)
    labels = model(images).argmax(1)
    weight = model.body[1].weight.detach()
    found, _, counted = called("fgsm", model, images, Budget("linf", 0.05), gradient="score")
    assert torch.allclose(found.flatten(1), images.flatten(1) - 0.05 * weight[labels].sign())
    assert (counted.forwards.tolist(), counted.backwards.tolist()) == ([1] * 20, [1] * 20)
    head, _, _ = called("fgsm", model, images, Budget("linf", 0.05))
    assert not torch.equal(found, head)


def test_the_published_score_loss_raises_the_score_of_a_target():
    model, images = linear(3), 0.4 + 0.2 * pixels(20)
    targets = (model(images).argmax(1) + 1) % 3
    weight = model.body[1].weight.detach()
    found, _, _ = called("fgsm", model, images, Budget("linf", 0.05), targets=targets, gradient="score")
    assert torch.allclose(found.flatten(1), images.flatten(1) + 0.05 * weight[targets].sign())


def test_tiny_gradients_still_make_whole_steps_in_l2():
    model, images = linear(2, scale=1e-24, seed=2, dtype=torch.float32), 0.4 + 0.2 * pixels(8, dtype=torch.float32)
    options = {"random_start": False, "steps": 1, "alpha": 0.01, "stop": "never", "num_classes": 2}
    found, _, _ = called("pgd", model, images, Budget("l2", 0.1), **options)
    lengths = (found - images).flatten(1).norm(dim=1)
    assert torch.allclose(lengths, torch.full_like(lengths, 0.01), rtol=1e-4)


class Plateau(nn.Module):
    """Images -> the sum of their values, capped: (batch, 1)."""

    def __init__(self, cap):
        super().__init__()
        self.cap = cap

    def forward(self, images):
        return images.flatten(1).sum(1, keepdim=True).clamp(max=self.cap)


def capped(cap, dtype=torch.float64) -> Toy:
    """Class 1 where the capped sum exceeds 1, whose gradient is exactly 0 above the cap."""
    last = nn.Linear(1, 2)
    with torch.no_grad():
        last.weight.copy_(torch.tensor([[0.0], [1.0]]))
        last.bias.copy_(torch.tensor([1.0, 0.0]))
    return Toy(nn.Sequential(Plateau(cap), last)).to(dtype)


def test_zero_gradient_pgd_goes_on_past_the_error_to_the_end_of_the_gradient():
    images = torch.full((1, 1, 2, 2), 0.2, dtype=torch.float64)  # sum 0.8: class 0; an error from 1, flat from 1.6
    (row,) = attacked(capped(1.6), "zero_gradient_pgd", Budget("linf", 0.5), images, steps=50, alpha=0.015)
    assert row["success"]
    assert row["steps"] == 14  # 14 steps are the first to lift the sum by more than 0.8
    assert row["linf"] == pytest.approx(14 * 0.015)
    assert row["l2"] == pytest.approx(2 * 14 * 0.015)
    assert (row["forwards"], row["backwards"]) == (15, 15)


def test_an_image_without_a_zero_gradient_in_reach_does_not_come_back():
    images = torch.cat([torch.full((1, 1, 2, 2), value, dtype=torch.float64) for value in (0.2, 0.05, 0.2, 0.24)])
    rows = attacked(capped(1.6), "zero_gradient_pgd", Budget("linf", 0.25), images, steps=20)
    assert [row["l2"] is not None for row in rows] == [True, False, True, True]
    assert [row["success"] for row in rows] == [True, False, True, True]
    assert rows[1]["steps"] == 20
    assert rows[0]["l2"] == rows[2]["l2"] > rows[3]["l2"]


def test_an_image_without_gradient_is_its_own_zero():
    images = torch.full((2, 1, 2, 2), 0.5, dtype=torch.float64)  # sum 2: class 1, flat
    found, steps, counted = called("zero_gradient_pgd", capped(1.6), images, Budget("linf", 0.1), num_classes=2)
    assert torch.equal(found, images)
    assert steps.tolist() == [0, 0]
    assert counted.forwards.tolist() == [1, 1]


def test_zero_gradients_are_those_of_the_models_own_precision():
    gap = torch.full((1, 1, 2, 2), 0.25)
    model = linear(2, scale=40.0, seed=2, shape=(1, 2, 2), dtype=torch.float32)
    with torch.no_grad():
        model.body[1].bias.copy_(torch.tensor([150.0, 0.0]))
    saturated, _, _ = called("zero_gradient_pgd", model, gap, Budget("linf", 0.01), num_classes=2)
    assert torch.equal(saturated, gap)
    rescued, _, _ = called("pgd", model, gap, Budget("linf", 0.01), num_classes=2, random_start=False, stop="never")
    assert not torch.equal(rescued, gap)


def test_zero_gradient_pgd_may_start_at_random():
    images = torch.full((30, 1, 2, 2), 0.2, dtype=torch.float64)
    plain, noisy = (
        attacked(capped(1.6), "zero_gradient_pgd", Budget("linf", 0.3), images, random_start=start)
        for start in (False, True)
    )
    assert len({row["l2"] for row in plain}) == 1
    assert len({row["l2"] for row in noisy}) > 20
    assert all(row["linf"] <= 0.3 + 1e-6 for row in noisy)
