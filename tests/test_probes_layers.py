"""The probes that look into a network's layers, against values worked out by hand."""

from itertools import pairwise

import pytest
import torch
from attack_toys import Wavering, linear, pixels
from probe_toys import Capped, Deep, assert_same, deep_net, measured, weighted
from torch import nn

from tasks.types import TaskError

EYE = torch.eye(36)


def capped_net(cap=torch.inf):
    """The activation's net values are the pixels less 0.5, times 2."""
    head = weighted(torch.linspace(-1, 1, 108).view(3, 36))
    return Deep(nn.Flatten(), weighted(2 * EYE, torch.full((36,), -1.0)), Capped(cap), head)


def test_the_regimes_are_the_shares_of_net_values_counted_by_hand():
    images = torch.full((2, 1, 6, 6), 0.4, dtype=torch.float64)
    images[0, 0, 0] = 0.6  # net 0.2, linear
    images[0, 0, 1, :3] = 0.9  # net 0.8, above the cap
    found = measured("activation_regimes", capped_net(0.5), images)
    assert found["1", "linear"].tolist() == [6 / 36, 0]
    assert found["1", "saturated"].tolist() == [30 / 36, 1]
    assert found["1", "nonlinear"].tolist() == [0, 0]


def test_caps_stand_beside_the_net_values_that_they_cap():
    model = capped_net()
    model.activations[0].caps = torch.cat([torch.tensor([-0.5, 0.0, 0.1]), torch.full((33,), 0.7)]).double()
    images = torch.full((2, 1, 6, 6), 0.5, dtype=torch.float64)
    images[0, 0, 0, :4] = torch.tensor([0.5, 0.6, 0.5, 0.9])  # net 0, 0.2, 0, 0.8, and 0 elsewhere
    found = {name: values for (_, name), values in measured("caps", model, images, units=True).items()}
    assert found["cap_min"].tolist() == [-0.5] * 2
    assert found["cap_mean"].tolist() == pytest.approx([(33 * 0.7 - 0.4) / 36] * 2)
    assert found["cap_max"].tolist() == pytest.approx([0.7] * 2)
    assert found["dead"].tolist() == pytest.approx([2 / 36] * 2)
    assert found["net_max"].tolist() == pytest.approx([0.8, 0.0])
    assert found["reached"].tolist() == pytest.approx([3 / 36, 1 / 36])  # the first, the second, the fourth; the first
    assert found["cap"].shape == (2, 36)


def test_the_caps_of_channels_are_those_of_all_their_places():
    from tasks.activations.drelu import drelu  # noqa: PLC0415 - this alone needs the real one

    model = Deep(nn.Conv2d(1, 2, 1), drelu(cap=0.4, per="channel"), nn.Flatten(), weighted(torch.ones(2, 72)))
    with torch.no_grad():
        model.body[0].weight.copy_(torch.tensor([1.0, 0.5]).view(2, 1, 1, 1))
        model.body[0].bias.zero_()
        model(torch.zeros(1, 1, 6, 6, dtype=torch.float64))
    images = torch.full((1, 1, 6, 6), 0.6, dtype=torch.float64)
    found = {name: values for (_, name), values in measured("caps", model, images).items()}
    assert found["reached"].tolist() == [0.5]
    assert found["cap_max"].tolist() == pytest.approx([0.4])


def test_a_layer_without_caps_has_no_values_but_what_it_is_given():
    found = {name: values for (_, name), values in measured("caps", capped_net(), pixels(2)).items()}
    assert all(values.isnan().all() == (name != "net_max") for name, values in found.items())


class Split(nn.Module):
    """Linear up to 0.3 on either side, saturated from 0.7 on."""

    def forward(self, net):
        return net

    def regimes(self, net):
        return net.abs() <= 0.3, net.abs() >= 0.7


def test_what_is_neither_linear_nor_saturated_is_nonlinear():
    model = Deep(nn.Conv2d(1, 1, 1), Split(), nn.Flatten(), weighted(torch.ones(2, 4)))
    with torch.no_grad():
        model.body[0].weight.fill_(1)
        model.body[0].bias.fill_(-0.5)
    images = torch.tensor([0.5, 0.9, 0.0, 1.2], dtype=torch.float64).view(1, 1, 2, 2)
    found = measured("activation_regimes", model, images)
    assert [found["1", name].item() for name in ("linear", "nonlinear", "saturated")] == [0.25, 0.5, 0.25]


def test_layers_are_numbered_from_either_end_and_come_in_order():
    model, images = deep_net(), pixels(3)
    names = {(number, name) for number in "12" for name in ("linear", "nonlinear", "saturated")}
    for layers in (None, [1, 2], [-1, -2], [2, -2, 1]):
        found = measured("activation_regimes", model, images, layers=layers)
        assert set(found) == names
        assert [layer for layer, _ in found] == ["1"] * 3 + ["2"] * 3
    last = measured("activation_regimes", model, images)
    assert {layer for layer, _ in last} == {"2"}
    assert_same(measured("activation_regimes", model, images, layers=[2]), last)
    grown = measured("perturbation_growth", model, images, layers=[-1], perturbation="uniform")
    assert list(dict.fromkeys(layer for layer, _ in grown)) == ["input", "2", "scores"]


@pytest.mark.parametrize("probe", ["activation_regimes", "perturbation_growth"])
@pytest.mark.parametrize("number", [0, 3, -3])
def test_a_layer_that_there_is_not_is_refused(probe, number):
    with pytest.raises(TaskError, match=rf"\[{number}\] are not among the model's 2 activations, 1 to 2 or -1 to -2"):
        measured(probe, deep_net(), pixels(2), layers=[1, number])


def test_an_activation_that_knows_no_regimes_is_named():
    with pytest.raises(TaskError, match="layer 2, Tanh, does not say"):
        measured("activation_regimes", deep_net(activation=nn.Tanh), pixels(2))


def test_an_activation_that_no_image_passes_is_named():
    model = deep_net()
    model.activations.append(Capped())
    with pytest.raises(TaskError, match=r"take no part in a pass of the model: 3 \(Capped\)"):
        measured("activation_regimes", model, pixels(2))


class Doubled(Split):
    """Twice the net value, in place if asked."""

    def __init__(self, *, in_place) -> None:
        super().__init__()
        self.in_place = in_place

    def forward(self, net):
        return net.mul_(2) if self.in_place else 2 * net


@pytest.mark.parametrize("probe", ["activation_regimes", "perturbation_growth"])
def test_an_activation_that_works_in_place_is_measured_like_any_other(probe):
    images, labels = pixels(9), torch.zeros(9, dtype=torch.int64)
    model, other = (
        deep_net(activation=lambda: Doubled(in_place=True)),
        deep_net(activation=lambda: Doubled(in_place=False)),
    )
    due = measured(probe, other, images, labels)
    assert_same(measured(probe, model, images, labels), due)
    assert_same(measured(probe, model, images, labels, fixed_batch=4), due)


def test_the_growth_in_a_linear_model_is_that_of_its_weights():
    model, images = linear(2, seed=2), 0.3 + 0.4 * pixels(6)
    model.activations = []
    labels = model(images).argmax(1)
    found = measured("perturbation_growth", model, images, eps=0.05, steps=10, alpha=0.01)
    weight = model.body[1].weight.detach()
    toward = torch.where(labels[:, None] == 0, weight[1] - weight[0], weight[0] - weight[1]).sign()
    moved = 0.05 * toward @ weight.T
    close = {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(found["input", "linf"], torch.full((6,), 0.05, dtype=torch.float64), **close)
    torch.testing.assert_close(found["input", "l2"], torch.full((6,), 0.05 * 6, dtype=torch.float64), **close)
    torch.testing.assert_close(found["scores", "l2"], moved.norm(dim=1), **close)
    torch.testing.assert_close(found["scores", "linf"], moved.abs().amax(1), **close)
    relative = moved.norm(dim=1) / model(images).detach().norm(dim=1)
    torch.testing.assert_close(found["scores", "relative_l2"], relative, **close)


def test_pgd_takes_its_steps_and_keeps_the_ball_and_the_box():
    images = pixels(12).round()
    found = measured("perturbation_growth", deep_net(), images, eps=0.1, steps=3, alpha=0.01)
    assert float(found["input", "linf"].max()) == pytest.approx(0.03)
    found = measured("perturbation_growth", deep_net(), images, eps=0.02, steps=3, alpha=0.01)
    assert float(found["input", "linf"].max()) == pytest.approx(0.02)
    lowered = measured("perturbation_growth", deep_net(), torch.zeros_like(images), eps=0.1, perturbation="uniform")
    share = lowered["input", "l2"].square().mean() / (36 * 0.1**2 / 3)
    assert 0.4 < float(share) < 0.6  # half of the pixels would fall, and cannot


def test_channels_are_measured_one_by_one():
    model = Deep(nn.Conv2d(1, 2, 1), Capped(), nn.Flatten(), weighted(torch.ones(2, 72)))
    with torch.no_grad():
        model.body[0].weight.copy_(torch.tensor([1.0, 3.0]).view(2, 1, 1, 1))
        model.body[0].bias.fill_(1)
    found = measured("perturbation_growth", model, pixels(5), perturbation="uniform", eps=0.1)
    own = found["input", "l2"]
    for name, factor in {"l2": 10**0.5, "channel_l2_mean": 2, "channel_l2_max": 3}.items():
        torch.testing.assert_close(found["1", name], factor * own)
    torch.testing.assert_close(found["1", "linf"], 3 * found["input", "linf"])


def test_a_lower_cap_never_grows_a_perturbation_more():
    images = pixels(30)
    growths = [
        measured("perturbation_growth", capped_net(cap), images, perturbation="uniform", eps=0.3)["1", "l2"]
        for cap in (torch.inf, 1.0, 0.5, 0.1, 0.01)
    ]
    for more, less in pairwise(growths):
        assert bool((less <= more).all())
    assert float(growths[-1].mean()) < 0.2 * float(growths[0].mean())
    assert float(growths[0].min()) > 0


def test_what_is_relative_to_nothing_is_none():
    found = measured(
        "perturbation_growth", capped_net(), torch.full((2, 1, 6, 6), 0.1).double(), perturbation="uniform"
    )
    assert bool(found["1", "relative_l2"].isnan().all())
    assert bool(found["1", "relative_linf"].isnan().all())
    assert found["1", "l2"].tolist() == [0, 0]


def test_a_stochastic_model_draws_the_same_for_both_images():
    model, images = Wavering(5.0), pixels(8)
    model.activations = []
    quiet = Wavering(0.0)
    quiet.activations = []
    how = {"perturbation": "uniform", "labels": torch.zeros(8, dtype=torch.int64)}
    found, due = (measured("perturbation_growth", one, images, **how) for one in (model, quiet))
    torch.testing.assert_close(found["scores", "l2"], due["scores", "l2"])
    assert not torch.allclose(found["scores", "relative_l2"], due["scores", "relative_l2"])
