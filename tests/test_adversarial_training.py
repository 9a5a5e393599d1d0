"""FGSM and PGD training: what is crafted, against closed forms, and what it leaves of the model."""

import pytest
import torch
from adversarial_toys import (
    EPS,
    defense,
    failing,
    far,
    labels_of,
    linear,
    natural_robustness,
    network,
    pixels,
    robustness,
    state_of,
    trained,
    watched,
)

from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.defenses._crafting import uniform
from tasks.heads.cons import cons
from tasks.heads.softmax import softmax
from tasks.heads.softrmax import softrmax
from tasks.metrics import frozen
from tasks.registry import load
from tasks.streams import Streams
from tasks.training.objective import Defense, objective

CRAFTS = {
    "fgsm": ("fgsm_training", {}),
    "fgsm from a random start": ("fgsm_training", {"random_start": True}),
    "pgd": ("pgd_training", {"steps": 5}),
    "pgd from the image": ("pgd_training", {"steps": 5, "random_start": False}),
    "pgd in l2": ("pgd_training", {"steps": 5, "norm": "l2"}),
}
every_craft = pytest.mark.parametrize(("name", "parameters"), CRAFTS.values(), ids=CRAFTS)


def crafted_by(name, model, images, labels, eps=EPS, **parameters):
    torch.manual_seed(5)
    return defense(name, eps=eps, **parameters).craft(model, images, labels)


def losses(model, images, labels):
    with torch.no_grad():
        return model.losses(model(images), labels)


@every_craft
@pytest.mark.parametrize("head", [softmax, softrmax, cons])
def test_crafted_images_stay_in_ball_and_box_and_raise_the_loss(name, parameters, head):
    model, images, labels = network(head).eval(), pixels(), labels_of(num_classes=3)
    for eps in (0.05, 0.3):
        crafted = crafted_by(name, model, images, labels, eps, **parameters)
        assert far(crafted, images, parameters.get("norm", "linf")) <= eps * (1 + 1e-6)
        assert 0 <= float(crafted.min()) <= float(crafted.max()) <= 1
        assert losses(model, crafted, labels).sum() > losses(model, images, labels).sum()
        assert crafted.dtype == images.dtype
        assert not crafted.requires_grad


@pytest.mark.parametrize("name", ["fgsm", "fgsm from a random start", "pgd", "pgd from the image"])
def test_in_linf_a_linear_model_is_taken_to_the_corner_of_ball_and_box(name):
    component, parameters = CRAFTS[name]
    if name == "fgsm from a random start":
        parameters = parameters | {"alpha": 2 * EPS}
    model, images, labels = linear(), pixels(), labels_of()
    crafted = crafted_by(component, model, images, labels, **parameters)
    away = model.head.weight[1 - labels] - model.head.weight[labels]
    due = (images + EPS * away.sign().view_as(images)).clamp(0, 1)
    assert torch.allclose(crafted, due, rtol=0, atol=1e-12)


def test_in_l2_a_linear_model_is_taken_straight_away_from_the_label():
    model, images, labels = linear(), 0.4 + 0.2 * pixels(), labels_of()
    crafted = crafted_by("pgd_training", model, images, labels, norm="l2", random_start=False, steps=3)
    away = model.head.weight[1 - labels] - model.head.weight[labels]
    due = images + EPS * (away / away.norm(dim=1, keepdim=True)).view_as(images)
    assert torch.allclose(crafted, due, rtol=0, atol=1e-6)


def test_steps_are_as_long_as_they_are_said_to_be():
    model, images, labels = linear(), 0.4 + 0.2 * pixels(), labels_of()
    for norm in ("linf", "l2"):
        for alpha, due in ((0.01, 0.03), (0.02, 0.06), (None, EPS)):
            options = {"norm": norm, "steps": 3, "alpha": alpha, "random_start": False}
            crafted = crafted_by("pgd_training", model, images, labels, **options)
            assert far(crafted, images, norm) == pytest.approx(due, rel=1e-6)
    assert far(crafted_by("fgsm_training", model, images, labels, alpha=0.03), images, "linf") == pytest.approx(0.03)
    assert far(crafted_by("fgsm_training", model, images, labels, alpha=0.3), images, "linf") == pytest.approx(EPS)


@pytest.mark.parametrize("head", [softmax, softrmax, cons])
def test_one_step_is_that_of_the_fgsm_attack(head):
    model, images, labels = network(head).float().eval(), pixels(dtype=torch.float32), labels_of(num_classes=3)
    budget, samples = Budget("linf", EPS), torch.arange(20)
    with frozen(model):
        counted = CountedModel(model, samples, budget, num_classes=3)
        due, _ = load("attack", "fgsm")(counted, images, labels, budget, Streams("", samples), gradient="head")
    assert torch.equal(crafted_by("fgsm_training", model, images, labels), due)
    one = {"steps": 1, "alpha": EPS, "random_start": False}
    assert torch.equal(crafted_by("pgd_training", model, images, labels, **one), due)


def test_fast_training_takes_the_published_step_from_a_random_point():
    model, images, labels = network().eval(), pixels(), labels_of(num_classes=3)
    torch.manual_seed(5)
    delta = torch.empty_like(images).uniform_(-EPS, EPS)
    start = (images + delta).clamp(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(model.losses(model(start), labels).sum(), start)
    delta = (start.detach() - images + 1.25 * EPS * gradient.sign()).clamp(-EPS, EPS)
    crafted = crafted_by("fgsm_training", model, images, labels, random_start=True)
    assert torch.allclose(crafted, (images + delta).clamp(0, 1), rtol=0, atol=1e-12)


def test_random_points_are_uniform_in_their_ball():
    torch.manual_seed(0)
    images = torch.full((4000, 1, 2, 2), 0.5, dtype=torch.float64)
    within = (uniform(images, "linf", EPS) - images).flatten() / EPS
    assert float(within.abs().max()) <= 1
    assert [float((within < end).double().mean()) for end in (-0.5, 0, 0.5)] == pytest.approx(
        [0.25, 0.5, 0.75], abs=0.02
    )
    lengths = (uniform(images, "l2", EPS) - images).flatten(1).norm(dim=1) / EPS
    assert float(lengths.max()) <= 1 + 1e-12
    # The ball of half the radius has a sixteenth of the volume in four dimensions.
    assert float((lengths < 0.5).double().mean()) == pytest.approx(1 / 16, abs=0.02)


@every_craft
def test_model_and_images_are_left_as_they_were_also_when_the_model_raises(name, parameters):
    model, images, labels = network(), pixels(), labels_of(num_classes=3)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    model.body[0].weight.requires_grad_(False)
    before, kept = state_of(model), images.clone()
    with watched(model) as seen:
        crafted_by(name, model, images, labels, **parameters)
    assert len(seen) == parameters.get("steps", 1)
    assert not any(training for training, _ in seen)
    with failing(model, parameters.get("steps", 1) - 1), pytest.raises(ZeroDivisionError):
        crafted_by(name, model, images, labels, **parameters)
    assert state_of(model) == before
    assert torch.equal(images, kept)


@every_craft
def test_no_number_is_read_back_from_the_device(name, parameters):
    # Tensors of the meta device have no values: asking for one raises.
    model, images, labels = (each.to("meta") for each in (network(), pixels(), labels_of(num_classes=3)))
    assert crafted_by(name, model, images, labels, **parameters).shape == images.shape


@every_craft
def test_images_of_full_precision_are_crafted_under_autocast(name, parameters):
    model, images, labels = network().float().eval(), pixels(dtype=torch.float32), labels_of(num_classes=3)
    with torch.autocast("cpu", torch.bfloat16):
        crafted = crafted_by(name, model, images, labels, **parameters)
        scores = model(images)
    assert scores.dtype == torch.bfloat16
    assert crafted.dtype == torch.float32
    assert far(crafted, images, parameters.get("norm", "linf")) <= EPS * (1 + 1e-5)
    assert losses(model, crafted, labels).sum() > losses(model, images, labels).sum()


@every_craft
def test_without_a_gradient_images_do_not_break(name, parameters):
    model, images, labels = linear(), pixels(), labels_of()
    with torch.no_grad():
        model.head.weight.zero_()
    crafted = crafted_by(name, model, images, labels, **parameters)
    assert far(crafted, images, parameters.get("norm", "linf")) <= EPS * (1 + 1e-6)
    if not parameters.get("random_start", name == "pgd_training"):
        assert torch.equal(crafted, images)


@every_craft
def test_a_clean_share_is_that_of_the_loss(name, parameters):
    model, images, labels = network().eval(), pixels(), labels_of(num_classes=3)
    crafted = crafted_by(name, model, images, labels, **parameters)
    torch.manual_seed(5)
    loss, scores = objective(defense(name, eps=EPS, clean=0.3, **parameters), model)(model, images, labels)
    clean, other = (losses(model, each, labels).mean() for each in (images, crafted))
    assert loss.item() == pytest.approx(float(0.3 * clean + 0.7 * other), rel=1e-9)
    assert torch.allclose(scores, model(crafted))
    loss.backward()
    mixed = 0.3 * model.losses(model(images), labels).mean() + 0.7 * model.losses(model(crafted), labels).mean()
    (due,) = torch.autograd.grad(mixed, model.head.weight)
    assert torch.allclose(model.head.weight.grad, due)
    assert defense(name, eps=EPS, clean=1.0, **parameters) == Defense()


def test_a_clean_share_makes_its_two_passes_in_training_mode():
    model, images, labels = network(), pixels(), labels_of(num_classes=3)
    with watched(model) as seen:
        objective(defense("pgd_training", eps=EPS, steps=2, clean=0.5), model)(model, images, labels)
    assert [training for training, _ in seen] == [False, False, True, True]
    assert [torch.equal(shown, images) for _, shown in seen[2:]].count(True) == 1


@pytest.mark.parametrize("clean", [0.0, 0.5])
@every_craft
def test_two_epochs_on_real_images_lower_the_loss(name, parameters, clean):
    _, (before, after) = trained(defense(name, eps=0.05, clean=clean, **parameters), epochs=2, count=300)
    assert after < before


@pytest.mark.parametrize("name", ["fgsm", "fgsm from a random start", "pgd"])
def test_real_images_are_harder_to_attack_after_training_on_crafted_ones(name):
    component, parameters = CRAFTS[name]
    model, _ = trained(defense(component, eps=EPS, **parameters), epochs=6)
    assert robustness(model) > natural_robustness(6) + 0.15
