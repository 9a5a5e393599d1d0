"""What a component declares is compared with what it does, where it runs: what does not hold is an error, no number."""

import pytest
import torch
from attack_toys import Toy, Wavering, attacked, linear, pixels
from torch import nn

from tasks.cases import Budget
from tasks.config import Cell, Component
from tasks.model import build_model, load_split
from tasks.noise import normal
from tasks.registry import component, describe
from tasks.training.objective import Defense
from tasks.types import AttackError, DataRoot, ModelError

HERE = "test_compared"
LINF = Budget("linf", 0.05)


@component(
    "attack", version=1, norms=("linf",), budget="eps", knowledge="white-box", targeting=("untargeted", "targeted")
)
def deaf(model, images, labels, budget, streams):
    """Goes down the label's score, whatever it is to aim at."""
    images = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(images).gather(1, labels[:, None]).sum(), images)
    return (images.detach() - budget.eps * gradient.sign()).clamp(*model.box), torch.ones_like(labels)


@component(
    "attack", version=1, norms=("linf",), budget="eps", knowledge="white-box", targeting=("untargeted", "targeted")
)
def hearing(model, images, labels, budget, streams):
    """One step of FGSM, which follows the targets."""
    gradient, _ = model.ascent(images, labels)
    return (images + budget.eps * gradient.sign()).clamp(*model.box), torch.ones_like(labels)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="score")
def peeking(model, images, labels, budget, streams):
    """Takes a gradient, which an attack on scores has none of."""
    model.ascent(images, labels)
    return images, torch.ones_like(labels)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def asking(model, images, labels, budget, streams):
    """Asks a model that it declares to know nothing of."""
    model(images)
    return images, torch.ones_like(labels)


class Noisy(nn.Module):
    """Adds noise to what passes through it."""

    stochastic = True

    def forward(self, images):
        return images if self.training else images + 0.1 * normal(images)


@component("defense", version=1)
def silent() -> Defense:
    """Puts noise into the model and does not say so."""
    return Defense(adapt=lambda model: setattr(model, "input", Noisy()))


@component("defense", version=1, stochastic=True)
def said() -> Defense:
    """The same, declared."""
    return silent()


class Global(Toy):
    """Draws from torch's own generator."""

    def forward(self, images):
        return super().forward(images) + 1e-6 * torch.rand(())


class Counting(Toy):
    """Gives other scores each time."""

    passes = 0

    def forward(self, images):
        self.passes += 1
        return super().forward(images) + self.passes


def run(attack, **options):
    return attacked(linear(3), f"{HERE}:{attack}", LINF, pixels(4), **options)


def test_an_attack_that_never_looks_at_its_targets_is_named():
    with pytest.raises(AttackError, match=f"{HERE}:deaf declares to aim at targets, and never looked at those"):
        run("deaf", targets="all")
    assert len(run("deaf")) == 4


def test_an_attack_that_follows_its_targets_is_not():
    assert len(run("hearing", targets="all")) == 8


@pytest.mark.parametrize(
    ("attack", "says"),
    [
        ("peeking", "declares the knowledge 'score', and took gradients of the model"),
        ("asking", "declares the knowledge 'none', and asked the model"),
    ],
)
def test_an_attack_that_sees_more_than_it_declares_is_named(attack, says):
    with pytest.raises(AttackError, match=f"{HERE}:{attack} {says}"):
        run(attack)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Global, "the model draws from torch's own generator"),
        (Counting, "asked again, the model's scores of the same image"),
    ],
)
def test_a_model_that_draws_where_nothing_ties_it_to_the_sample_is_named_and_not_the_attack(model, says):
    model = model(linear(3).body).double()
    before = torch.random.get_rng_state()
    with pytest.raises(ModelError, match=says):
        attacked(model, "fgsm", LINF, pixels(4), labels=torch.zeros(4, dtype=torch.int64))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_model_that_draws_from_its_samples_streams_is_left_alone():
    labels = Wavering(0.0)(pixels(4)).argmax(1)
    assert len(attacked(Wavering(0.3), "fgsm", LINF, pixels(4), labels=labels, eot=2, draws=3)) == 4


def built(defense):
    kinds = {
        "dataset": "digits",
        "architecture": "mlp",
        "activation": "relu",
        "head": "softmax",
        "training": "standard",
    }
    parts = {
        kind: Component(kind, name, 1, {key: value.default for key, value in describe(kind, name).parameters.items()})
        for kind, name in kinds.items()
    }
    cell = Cell(**parts, defense=Component("defense", f"{HERE}:{defense}", 1), seed=0)
    return build_model(cell, load_split(cell.dataset, "test", DataRoot(None)))


def test_a_model_that_draws_under_parts_that_do_not_say_so_is_not_built():
    with pytest.raises(ModelError, match=rf"\(Noisy\), and none of its parts declares it: .*defense {HERE}:silent"):
        built("silent")
    assert any(isinstance(module, Noisy) for module in built("said").modules())


def test_a_single_draw_of_noise_asks_nothing_and_so_follows_no_target():
    rows = attacked(linear(3), "random_noise", LINF, pixels(4), targets="all", tries=1)
    assert sum(row["attacked"] for row in rows) == 8


class Faint(Toy):
    """Of a thousand classes, whose scores differ by a hundredth of the largest each time."""

    passes = 0

    def forward(self, images):
        self.passes += 1
        return super().forward(images) * (1 + 0.01 * (self.passes % 2))


def test_a_small_difference_is_none_less_for_there_being_a_thousand_classes():
    model = Faint(linear(1000).body).double()
    with pytest.raises(ModelError, match="asked again, the model's scores of the same image differ"):
        attacked(model, "fgsm", LINF, pixels(4), labels=torch.zeros(4, dtype=torch.int64))
