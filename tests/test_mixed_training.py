"""Mixed training: which attack a batch goes through, and what each of them makes of it."""

from collections import Counter

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
)

from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.defenses import mixed_training as mixed
from tasks.metrics import frozen, margins
from tasks.registry import load
from tasks.streams import Streams
from tasks.types import TaskError

ALL = ["pgd", "fgsm", "cw", "noise"]
BALL = ["pgd", "fgsm", "noise"]


def only(attack, **parameters):
    """The craft that always takes one attack."""
    return defense("mixed_training", eps=EPS, attacks=[attack], clean=0.0, **parameters).craft


def crafted_by(attack, model, images, labels, **parameters):
    torch.manual_seed(5)
    return only(attack, **parameters)(model, images, labels)


def shares(monkeypatch, draws=6000, **parameters) -> dict[str, float]:
    """How often each attack is drawn."""
    taken = Counter()

    def recorded(name, result):
        def instead(*given, **options):
            taken[name] += 1
            return result

        return instead

    images = pixels(1)
    for name, function, result in (("pgd", "pgd", images), ("fgsm", "fgsm", images), ("cw", "cw", [images])):
        monkeypatch.setattr(mixed, function, recorded(name, result))
    monkeypatch.setattr(mixed, "uniform", recorded("noise", images))
    model, craft = linear(), defense("mixed_training", eps=EPS, **parameters).craft
    torch.manual_seed(0)
    for _ in range(draws):
        craft(model, images, labels_of(1))
    return {name: count / draws for name, count in taken.items()}


def test_half_of_the_batches_are_clean_and_each_attack_gets_one_in_eight(monkeypatch):
    assert shares(monkeypatch) == pytest.approx(dict.fromkeys(ALL, 1 / 8), abs=0.015)


@pytest.mark.parametrize(
    ("parameters", "due"),
    [
        ({"attacks": ["pgd"]}, {"pgd": 1 / 2}),
        ({"attacks": ["pgd", "fgsm"]}, {"pgd": 1 / 4, "fgsm": 1 / 4}),
        ({"attacks": ["pgd", "fgsm", "cw"], "clean": 5 / 8}, {"pgd": 1 / 8, "fgsm": 1 / 8, "cw": 1 / 8}),
        ({"attacks": ["pgd", "pgd", "noise"], "clean": 0.0}, {"pgd": 2 / 3, "noise": 1 / 3}),
        ({"clean": 1.0}, {}),
    ],
)
def test_what_is_not_clean_goes_in_equal_parts_to_those_listed(monkeypatch, parameters, due):
    assert shares(monkeypatch, 3000, **parameters) == pytest.approx(due, abs=0.03)


def test_a_clean_batch_is_the_batch_itself():
    model, images, labels = network(), pixels(), labels_of(num_classes=3)
    assert defense("mixed_training", eps=EPS, clean=1.0).craft(model, images, labels) is images


def test_the_same_seed_draws_the_same():
    model, images, labels = network(), pixels(4), labels_of(4, 3)
    craft = defense("mixed_training", eps=EPS, steps=2, cw_steps=2).craft
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        runs.append(torch.stack([craft(model, images, labels) for _ in range(12)]))
    assert torch.equal(*runs)
    assert len(runs[0].unique(dim=0)) > 3


def test_no_attack_at_all_is_refused():
    with pytest.raises(TaskError, match="mixed_training: attacks is empty"):
        defense("mixed_training", eps=EPS, attacks=[])


@pytest.mark.parametrize("attack", BALL)
def test_all_images_of_a_batch_are_moved_within_ball_and_box(attack):
    model, images, labels = network().eval(), pixels(), labels_of(num_classes=3)
    crafted = crafted_by(attack, model, images, labels)
    assert far(crafted, images, "linf") <= EPS * (1 + 1e-6)
    assert 0 <= float(crafted.min()) <= float(crafted.max()) <= 1
    assert bool((crafted != images).flatten(1).any(1).all())


def test_pgd_and_fgsm_are_those_of_their_own_training():
    model, images, labels = network().eval(), pixels(), labels_of(num_classes=3)
    due = defense("fgsm_training", eps=EPS).craft(model, images, labels)
    assert torch.equal(crafted_by("fgsm", model, images, labels), due)
    for options in ({}, {"steps": 3, "alpha": 0.01}):
        # A craft of the mix has drawn which attack it is before it draws a start.
        torch.manual_seed(5)
        torch.rand(()), torch.randint(1, ())
        due = defense("pgd_training", eps=EPS, **options).craft(model, images, labels)
        assert torch.equal(crafted_by("pgd", model, images, labels, **options), due)


def test_noise_knows_nothing_of_the_model():
    images, labels = pixels(200), labels_of(200)
    one = crafted_by("noise", network(), images, labels)
    assert torch.equal(one, crafted_by("noise", linear(), images, 1 - labels))
    inside = (images > EPS) & (images < 1 - EPS)
    assert float((one - images)[inside].abs().mean()) == pytest.approx(EPS / 2, rel=0.05)


@pytest.mark.parametrize("variant", ["published", "corrected"])
def test_cw_is_the_attack_of_that_name(variant):
    model, images, budget = network().eval(), pixels(), Budget("l2", None)
    labels, samples = model(images).argmax(1), torch.arange(20)
    with frozen(model):
        counted = CountedModel(model, samples, budget, num_classes=3)
        options = {"variant": variant, "steps": 20, "lr": 0.02, "search_steps": 1}
        due, _ = load("attack", "cw")(counted, images, labels, budget, Streams("", samples), **options)
    crafted = crafted_by("cw", model, images, labels, cw_steps=20, cw_lr=0.02, cw_variant=variant)
    assert torch.equal(crafted, due)
    assert 0 <= float(crafted.min()) <= float(crafted.max()) <= 1
    assert bool((margins(model(crafted), labels) < margins(model(images), labels)).all())


@pytest.mark.parametrize("attack", ALL)
def test_images_of_full_precision_are_crafted_under_autocast(attack):
    model, images, labels = network().float(), pixels(dtype=torch.float32), labels_of(num_classes=3)
    with torch.autocast("cpu", torch.bfloat16):
        crafted = crafted_by(attack, model, images, labels)
    assert crafted.dtype == torch.float32
    assert not torch.equal(crafted, images)


@pytest.mark.parametrize("attack", ALL)
def test_model_and_images_are_left_as_they_were_also_when_the_model_raises(attack):
    model, images, labels = network(), pixels(), labels_of(num_classes=3)
    before, kept = state_of(model), images.clone()
    crafted_by(attack, model, images, labels)
    if attack != "noise":
        with failing(model, 0), pytest.raises(ZeroDivisionError):
            crafted_by(attack, model, images, labels)
    assert state_of(model) == before
    assert torch.equal(images, kept)


def test_two_epochs_on_real_images_lower_the_loss():
    _, (before, after) = trained(defense("mixed_training", eps=0.05, steps=3), epochs=2, count=300)
    assert after < before


def test_real_images_are_harder_to_attack_after_it():
    model, _ = trained(defense("mixed_training", eps=EPS, steps=3), epochs=6)
    assert robustness(model) > natural_robustness(6) + 0.1
