"""The controls: random noise, blended noise, and the fast gradient value method."""

import pytest
import torch
from attack_toys import attacked, conv_net, linear, pixels

from tasks import registry
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import frozen
from tasks.streams import Streams

MINIMAL = Budget("l2", None)
MIDDLE = 0.4 + 0.2 * pixels(30)


def called(name, model, images, budget, *, labels=None, targets=None, **parameters):
    labels = model(images).argmax(1).detach() if labels is None else labels
    with frozen(model):
        counted = CountedModel(model, torch.arange(len(images)), budget, num_classes=4, targets=targets)
        streams = Streams("one key", torch.arange(len(images)), targets)
        found, steps = registry.load("attack", name)(counted, images, labels, budget, streams, **parameters)
    return found, steps, counted


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", ["uniform", "gaussian", "sign"])
def test_noise_is_exactly_as_long_as_its_budget(norm, kind):
    rows = attacked(linear(), "random_noise", Budget(norm, 0.1), MIDDLE, kind=kind)
    assert [row[norm] for row in rows] == pytest.approx([0.1] * 30, rel=1e-6)
    assert [row["forwards"] for row in rows] == [0] * 30


def test_the_kinds_of_noise_are_what_they_are_called():
    images, budget = torch.full((50, 1, 20, 20), 0.5, dtype=torch.float64), Budget("linf", 0.1)
    model = linear(shape=(1, 20, 20))
    uniform, gaussian, sign = (
        called("random_noise", model, images, budget, kind=kind)[0] - images for kind in ("uniform", "gaussian", "sign")
    )
    assert torch.allclose(sign.abs(), torch.full_like(sign, 0.1))
    assert abs(float(sign.mean())) < 0.002
    assert float((uniform.abs() < 0.05).double().mean()) == pytest.approx(0.5, abs=0.01)
    shape = (gaussian / gaussian.flatten(1).std(1).view(-1, 1, 1, 1)).abs()
    assert float((shape < 1).double().mean()) == pytest.approx(0.683, abs=0.01)


def test_noise_is_drawn_for_each_sample_and_each_target():
    images = torch.full((2, 1, 6, 6), 0.5, dtype=torch.float64)
    found, _, _ = called("random_noise", linear(), images, Budget("linf", 0.1))
    aimed, _, _ = called("random_noise", linear(), images, Budget("linf", 0.1), targets=torch.tensor([1, 1]))
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found, aimed)


def test_further_tries_are_for_those_that_withstood_and_find_more():
    model, images, budget = conv_net(), pixels(30), Budget("linf", 0.2)
    few, _, _ = called("random_noise", model, images, budget, tries=2)
    many, steps, counted = called("random_noise", model, images, budget, tries=20)
    labels = model(images).argmax(1)
    early, late = model(few).argmax(1) != labels, model(many).argmax(1) != labels
    assert torch.equal(few[early], many[early])
    assert int(early.sum()) < int(late.sum()) < 30
    assert torch.equal(steps, counted.forwards)
    assert steps[~late].unique().tolist() == [20]
    assert int(steps[early].max()) <= 2


def test_noise_on_a_linear_model_is_far_weaker_than_the_gradient():
    model, budget = linear(2, seed=2), Budget("linf", 0.03)
    random, value, sign = (
        attacked(model, name, budget, MIDDLE) for name in ("random_noise", "fast_gradient_value", "fgsm")
    )
    counts = [sum(row["success"] for row in rows) for rows in (random, value, sign)]
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_gradient_value_step_on_a_linear_model_is_its_closed_form(norm):
    model, eps = linear(2, seed=2), 0.08
    labels = model(MIDDLE).argmax(1)
    weight = model.body[1].weight.detach()
    slope = (weight[1] - weight[0]) * (1 - 2 * labels[:, None])
    length = slope.abs().amax(1, keepdim=True) if norm == "linf" else slope.norm(dim=1, keepdim=True)
    for targets in (None, 1 - labels):
        found, _, counted = called("fast_gradient_value", model, MIDDLE, Budget(norm, eps), targets=targets)
        assert torch.allclose(found.flatten(1), MIDDLE.flatten(1) + eps * slope / length)
        assert (counted.forwards.tolist(), counted.backwards.tolist()) == ([1] * 30, [1] * 30)


def test_a_flat_model_leaves_the_gradient_value_step_at_the_image():
    model = linear(3)
    with torch.no_grad():
        model.body[1].weight.zero_()
        model.body[1].bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    for norm in ("linf", "l2"):
        assert all(row["l2"] == 0 for row in attacked(model, "fast_gradient_value", Budget(norm, 0.1), MIDDLE))


def test_blended_noise_ends_on_the_boundary_of_a_linear_model():
    model = linear(2, seed=2)
    rows = attacked(model, "blended_noise", MINIMAL, MIDDLE, blends=20, bisections=30)
    assert all(row["success"] for row in rows)
    assert max(abs(row["adv_margin"]) for row in rows) < 1e-6


def test_blended_noise_halves_what_is_uncertain_at_every_bisection():
    model = linear(2, seed=2)
    coarse, fine, finest = (
        [row["l2"] for row in attacked_as_one(model, blends=10, bisections=count)] for count in (0, 5, 25)
    )
    for long, shorter, least in zip(coarse, fine, finest, strict=True):
        whole = 10 * 32  # parts of a blend
        assert least <= shorter <= long
        assert shorter - least <= long * 10 / whole + 1e-9


def attacked_as_one(model, **parameters):
    """Rows from the same random draws whatever the parameters, as the case's id is not part of the key."""
    labels = model(MIDDLE).argmax(1)
    found, _, _ = called("blended_noise", model, MIDDLE, MINIMAL, **parameters)
    assert bool((model(found).argmax(1) != labels).all())
    return [{"l2": float(distance)} for distance in (found - MIDDLE).flatten(1).norm(dim=1)]


def test_where_no_noise_fools_nothing_comes_back_and_the_others_do():
    model, images = conv_net(), pixels(30)
    found, steps, counted = called("blended_noise", model, images, MINIMAL, tries=1)
    absent = found.flatten(1).isnan().all(1)
    assert 0 < int(absent.sum()) < 30
    assert not bool(found[~absent].isnan().any())
    assert bool((model(found[~absent]).argmax(1) != model(images[~absent]).argmax(1)).all())
    assert steps[absent].unique().tolist() == [0]
    assert counted.forwards[absent].unique().tolist() == [2]
    again, _, _ = called("blended_noise", model, images, MINIMAL, tries=50)
    assert int(again.flatten(1).isnan().all(1).sum()) < int(absent.sum())
    assert torch.equal(again[~absent], found[~absent])


def test_blended_noise_reaches_targets_and_nothing_else():
    model = linear(3)
    rows = attacked(model, "blended_noise", MINIMAL, MIDDLE, targets="all")
    assert len(rows) == 60
    assert all(row["success"] == (row["l2"] is not None) for row in rows)
    assert all(row["adv_pred"] == row["target"] for row in rows if row["success"])


@pytest.mark.parametrize("name", ["blended_noise", "random_noise"])
def test_what_has_reached_its_aim_already_stays_near_itself(name):
    model, images = linear(3), pixels(6)
    wrong = (model(images).argmax(1) + 1) % 3
    budget = MINIMAL if name == "blended_noise" else Budget("linf", 0.01)
    found, steps, _ = called(name, model, images, budget, labels=wrong)
    assert float((found - images).abs().max()) <= 0.01 + 1e-9
    assert int(steps.max()) <= 1


def test_standardised_blends_are_those_of_pixels():
    model = linear(2, seed=2, mean=0.5, std=0.25)
    plain, _, _ = called("blended_noise", model, MIDDLE, MINIMAL)
    inputs, labels = (MIDDLE - 0.5) / 0.25, model(MIDDLE).argmax(1)
    standard, _, _ = called("blended_noise", model, inputs, Budget("l2", None, "standardised"), labels=labels)
    assert torch.allclose(standard * 0.25 + 0.5, plain)
    assert bool((model(plain).argmax(1) != labels).all())
