"""Other libraries' attacks as cases."""

import importlib.util
import random
import types

import numpy as np
import pytest
import torch
from attack_toys import attacked, conv_net, linear, pixels

from tasks.attacks import _peer
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import frozen
from tasks.streams import Streams
from tasks.types import AttackError

pytestmark = pytest.mark.filterwarnings("ignore")
LINF, L2 = Budget("linf", 0.1), Budget("l2", None)
ANY = [
    ("foolbox", LINF, {"attack": "LinfPGD", "steps": 5, "rel_stepsize": 0.4}),
    ("torchattacks", LINF, {"attack": "PGD", "steps": 5, "alpha": 0.05}),
    ("art", LINF, {"attack": "ProjectedGradientDescent", "max_iter": 5, "eps_step": 0.05, "num_random_init": 1}),
]
BY_LIBRARY = pytest.mark.parametrize(("name", "budget", "options"), ANY, ids=[name for name, _, _ in ANY])


def need(name):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")


def plain(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def counted(model, count, budget=LINF):
    return CountedModel(model, torch.arange(count), budget, num_classes=4)


class FakeAttack:
    def __init__(self, model, steps=3, eps=0.1):
        self.model, self.steps, self.eps = model, steps, eps


class FakePGD(FakeAttack):
    pass


FAKE = types.SimpleNamespace(__name__="fake", FakeAttack=FakeAttack, FakePGD=FakePGD, int=int, system=print)


def test_only_an_attack_class_of_the_library_can_be_named():
    assert _peer.attack_class(FAKE, "FakePGD", FakeAttack) is FakePGD
    for name in ("FakeAttack", "int", "system", "FakePGD.mro", "__name__"):
        with pytest.raises(AttackError, match="fake has no attack"):
            _peer.attack_class(FAKE, name, FakeAttack)
    with pytest.raises(AttackError, match="Did you mean 'FakePGD'"):
        _peer.attack_class(FAKE, "FakePDG", FakeAttack)


def test_parameters_are_those_of_the_class_and_not_what_the_budget_says():
    made = _peer.make(FakePGD, ("a model",), {"steps": 7}, {"eps": 0.5, "norm": "Linf"}, {"steps": 9})
    assert (made.model, made.steps, made.eps) == ("a model", 7, 0.5)
    with pytest.raises(AttackError, match=r"FakePGD has no parameter 'setps'. Did you mean 'steps'\?"):
        _peer.make(FakePGD, ("a model",), {"setps": 7}, {"eps": 0.5})
    with pytest.raises(AttackError, match="has no parameter 'model'"):
        _peer.make(FakePGD, ("a model",), {"model": "another"}, {"eps": 0.5})
    with pytest.raises(AttackError, match="'eps' follows from budget and targets"):
        _peer.make(FakePGD, ("a model",), {"eps": 0.7}, {"eps": 0.5})


def test_a_library_that_is_missing_is_named_with_its_command():
    with pytest.raises(AttackError, match=r"no_such_library cannot be imported .*; install it: pip install that"):
        _peer.library("no_such_library.attacks", "pip install that")


@pytest.mark.parametrize("space", ["pixel", "standardised"])
def test_passes_of_other_batches_count_for_the_nearest_sample(space):
    model, images = conv_net(), pixels(4)
    budget = Budget("linf", 0.1, space)
    with frozen(model):
        view = counted(model, 4, budget)

        def attack(module, given, rows):
            module(given)
            module(given[[3, 3, 1]] + 0.01)
            scores = module(given[2:3].float().requires_grad_())
            torch.autograd.grad(scores.sum(), scores)
            return given

        _, steps = _peer.called("an attack", attack, view, view.inputs(images), Streams("", torch.arange(4)))
    assert view.forwards.tolist() == steps.tolist() == [1, 2, 2, 3]


def test_a_way_through_pixels_and_float32_changes_no_value():
    model, images = conv_net(), pixels(3)
    with frozen(model):
        view = counted(model, 3, Budget("linf", 0.1, "standardised"))
        inputs = view.inputs(images)
        for there in (torch.Tensor.clone, torch.Tensor.float):
            found, _ = _peer.called(
                "none", lambda m, x, rows, t=there: t(x), view, inputs, Streams("", torch.arange(3))
            )
            assert torch.equal(found, inputs)


def test_whatever_a_library_raises_is_an_attack_error_in_one_line():
    def attack(module, given, rows):
        raise KeyError("first\nsecond")

    with frozen(model := conv_net()), pytest.raises(AttackError, match=r"^fake's PGD: KeyError: .*first"):
        _peer.called("fake's PGD", attack, counted(model, 3), pixels(3), Streams("", torch.arange(3)))


def test_global_random_numbers_follow_the_samples_and_are_put_back():
    def state():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()

    drawn = []

    def attack(module, given, rows):
        drawn.append(state())
        return given

    with frozen(model := conv_net()):
        torch.manual_seed(1), np.random.seed(1), random.seed(1)
        due = state()
        for key in ("a", "a", "b"):
            torch.manual_seed(1), np.random.seed(1), random.seed(1)
            _peer.called("an attack", attack, counted(model, 3), pixels(3), Streams(key, torch.arange(3)))
            assert state() == due
    assert drawn[0] == drawn[1]
    assert all(one != other for one, other in zip(drawn[0], drawn[2], strict=True))


def test_an_eps_is_given_in_units_of_pixels():
    with frozen(model := conv_net()):  # std 0.4
        units = [_peer.pixel_eps(counted(model, 1, Budget("l2", 0.5, space)), Budget("l2", 0.5, space), 1)
                 for space in ("pixel", "standardised")]  # fmt: skip
    assert units == pytest.approx([0.5, 0.2])


def test_an_eps_that_differs_by_channel_is_refused():
    model = linear(shape=(3, 4, 4))
    model.std[1] = 2.0
    budget = Budget("l2", 0.5, "standardised")
    with frozen(model), pytest.raises(AttackError, match="std differs by channel"):
        _peer.pixel_eps(counted(model, 1, budget), budget, 3)


@BY_LIBRARY
@pytest.mark.parametrize("space", ["pixel", "standardised"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_peer_is_a_case_like_any_other(name, budget, options, space, dtype):
    need(name)
    model, images = conv_net(dtype), pixels(20, dtype=dtype)
    state = torch.random.get_rng_state()
    eps = budget.eps / (0.4 if space == "standardised" else 1)
    rows = attacked(model, name, Budget("linf", eps, space), images, **options)
    assert sum(row["success"] for row in rows) >= 5
    assert all(row["linf"] <= eps * (1 + 1e-4) for row in rows)
    assert all(row["forwards"] >= row["backwards"] == 5 for row in rows)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert plain(attacked(model, name, Budget("linf", eps, space), images, **options)) == plain(rows)


@BY_LIBRARY
def test_no_sample_and_one_sample_are_enough_for_a_peer(name, budget, options):
    need(name)
    assert [len(attacked(conv_net(), name, budget, pixels(count), **options)) for count in (0, 1)] == [0, 1]


@BY_LIBRARY
def test_a_peer_aims_at_its_targets(name, budget, options):
    need(name)
    model, images = linear(3, seed=2), 0.4 + 0.2 * pixels(20)
    rows = attacked(model, name, Budget("linf", 0.3), images, targets="all", **options)
    assert len(rows) == 40
    assert sum(row["success"] for row in rows) > 25
    assert all(row["adv_pred"] == row["target"] for row in rows if row["success"])


MISTAKES = [
    ("foolbox", LINF, {"attack": "LinfPDG"}, "foolbox.attacks has no attack 'LinfPDG'. Did you mean 'LinfPGD'"),
    (
        "foolbox",
        Budget("l2", 0.1),
        {"attack": "LinfPGD"},
        "LinfPGD measures Linf distance, but the budget's norm is l2",
    ),
    ("foolbox", Budget("linf", None), {"attack": "LinfPGD"}, "LinfPGD: NotImplementedError: FixedEpsilonAttack"),
    ("foolbox", LINF, {"attack": "LinfPGD", "setps": 3}, "has no parameter 'setps'. Did you mean 'steps'"),
    ("torchattacks", Budget("linf", None), {"attack": "PGD"}, "PGD needs a budget with an eps"),
    ("torchattacks", LINF, {"attack": "CW"}, "CW has no budget to keep: leave eps out"),
    ("torchattacks", LINF, {"attack": "APGD", "seed": 3, "norm": "L2"}, "'norm' follows from budget and targets"),
    ("torchattacks", LINF, {"attack": "Attack"}, "torchattacks has no attack 'Attack'"),
    ("art", LINF, {"attack": "FastGradientMethod", "eps_step": "x"}, "ART's FastGradientMethod: "),
    ("art", Budget("l2", None), {"attack": "DeepFool", "targets": "all"}, "ART's DeepFool cannot be targeted"),
    ("art", LINF, {"attack": "EvasionAttack"}, "has no attack 'EvasionAttack'"),
]


@pytest.mark.parametrize(("name", "budget", "options", "message"), MISTAKES, ids=[case[3] for case in MISTAKES])
def test_a_mistake_is_named_in_plain_words(name, budget, options, message):
    need(name)
    with pytest.raises(AttackError, match=message.replace("(", r"\(")):
        attacked(conv_net(), name, budget, pixels(4), **options)


def test_a_black_image_that_fools_by_accident_is_measured_as_far_as_it_is():
    need("foolbox")
    rows = attacked(conv_net(), "foolbox", L2, pixels(8), attack="L2CarliniWagnerAttack", steps=2,
                    binary_search_steps=1, stepsize=1e-6)  # fmt: skip
    assert any(row["l2"] > 1 for row in rows)


def test_a_sample_that_a_library_finds_no_start_for_costs_the_others_nothing():
    """Foolbox's Boundary Attack gives up on the whole batch where noise fools the model for one sample too few."""
    need("foolbox")
    model = linear(2)
    with torch.no_grad():
        model.body[1].weight.copy_(torch.tensor([[0.0], [1.0]]).expand(2, 36))
        model.body[1].bias.copy_(torch.tensor([0.0, -0.8 * 36]))  # bright images are of class 1, and noise is not
    images = 0.2 * pixels(8) + torch.tensor([0.1, 0.75]).repeat(4)[:, None, None, None]
    rows = attacked(model, "foolbox", L2, images, attack="BoundaryAttack", steps=5)
    assert [row["label"] for row in rows] == [0, 1] * 4
    assert [row["success"] for row in rows] == [False, True] * 4
    assert [row["l2"] is None for row in rows] == [True, False] * 4


@pytest.mark.parametrize("error", [ValueError("init_attack failed for 1.0 of 4 inputs"), AssertionError()])
def test_a_library_that_gives_up_over_one_sample_is_asked_about_the_others(error):
    model, images = conv_net(), pixels(9)

    def attack(module, given, rows):
        is_adversarial = lambda x: ~(rows == 5)  # noqa: E731 - as the library asserts it
        if isinstance(error, ValueError) and bool((rows == 5).any()):
            raise error
        assert is_adversarial(given).all()
        return (given + 0.01).clamp(0, 1)

    with frozen(model):
        found, _ = _peer.called("an attack", attack, counted(model, 9), images, Streams("", torch.arange(9)))
    assert found.isnan().flatten(1).all(1).tolist() == [row == 5 for row in range(9)]
    assert torch.equal(found[:5], (images[:5] + 0.01).clamp(0, 1))


def test_an_error_of_another_kind_is_not_taken_for_a_sample_without_a_start():
    def attack(module, given, rows):
        assert len(given) > 10, "a bug"
        return given

    with frozen(model := conv_net()), pytest.raises(AttackError, match="AssertionError: a bug"):
        _peer.called("an attack", attack, counted(model, 4), pixels(4), Streams("", torch.arange(4)))
