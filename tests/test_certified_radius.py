"""The certified radius against linear models, whose smoothed radius is known, and against exact binomial tails."""

import math

import pytest
import torch
from defended import probed, toy
from torch import nn

from tasks import noise
from tasks.defenses.randomised_smoothing import GaussianNoise, randomised_smoothing
from tasks.probes.certified_radius import certified_radius, lower_bound, p_value
from tasks.types import TaskError

STD = 0.25


def smoothed(sigma=0.5, classes=2):
    """A linear model behind its own smoothing layer."""
    model = toy(classes, std=(STD,))
    randomised_smoothing(sigma=sigma).adapt(model)
    return model.eval()


def images_at(distances, model):
    """Images of class 0 whose distance from the boundary of a linear model of two classes is given."""
    weight, bias = model.head.weight.detach(), model.head.bias.detach()
    normal, offset = (weight[0] - weight[1]) / STD, bias[0] - bias[1]
    length = normal.norm()
    centre = 0.5 - offset * normal / length**2
    return (centre + distances.double()[:, None] * normal / length).view(-1, 1, 2, 2)


def found(model, images, **parameters):
    return {name: each.values for name, each in probed(certified_radius, model, images, **parameters).items()}


def tail(least, n, share):
    """P(at least so many of n), summed term by term."""
    return math.fsum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(least, n + 1))


@pytest.mark.parametrize(("hits", "n", "alpha"), [(1, 10, 0.05), (7, 10, 0.001), (10, 10, 0.05), (180, 200, 0.001)])
def test_the_bound_is_the_share_at_which_so_many_hits_have_the_probability_alpha(hits, n, alpha):
    bound = lower_bound(torch.tensor([hits]), n, alpha).item()
    assert tail(hits, n, bound) == pytest.approx(alpha, rel=1e-9)


def test_the_bound_is_zero_without_a_hit_and_the_nth_root_of_alpha_with_nothing_else():
    assert lower_bound(torch.tensor([0, 1000]), 1000, 0.001).tolist() == [0, pytest.approx(0.001 ** (1 / 1000))]


@pytest.mark.parametrize(("most", "second"), [(9, 1), (60, 40), (5, 5), (3, 0), (1, 0)])
def test_the_p_value_is_that_of_both_tails_of_a_fair_coin(most, second):
    expected = min(1.0, 2 * tail(most, most + second, 0.5))
    assert p_value(torch.tensor([most]), torch.tensor([second])).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("sigma", [0.25, 1.0])
def test_the_radius_of_a_linear_model_tends_to_the_distance_from_the_boundary_from_below(sigma):
    model, distances = smoothed(sigma), sigma * torch.tensor([0.2, 0.5, 1.0, 1.5])
    gaps = []
    for n in (200, 2_000, 20_000):
        measured = found(model, images_at(distances, model), n=n, n0=50)
        assert (measured["correct_radius"] <= distances).all()
        gaps.append((distances - measured["correct_radius"]).max().item() / sigma)
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.06
    assert measured["predicted"].tolist() == [0, 0, 0, 0]
    assert torch.allclose(measured["radius"], sigma * torch.special.ndtri(measured["p_lower"]))


def test_the_radius_is_at_most_what_so_few_draws_can_show():
    model = smoothed()
    measured = found(model, images_at(torch.tensor([50.0]), model), n=1000, alpha=0.001)
    assert measured["radius"].item() == pytest.approx(0.5 * 2.4637, rel=1e-3)


def test_near_the_boundary_it_abstains_and_far_from_it_does_not():
    model = smoothed()
    measured = found(model, images_at(torch.tensor([0.0, 0.005, -0.005, 0.5, -0.5]), model))
    assert measured["abstained"].tolist() == [True] * 3 + [False] * 2
    assert measured["vote_abstained"].tolist() == [True] * 3 + [False] * 2
    for name in ("predicted", "radius", "vote"):
        assert measured[name].isnan().tolist() == [True] * 3 + [False] * 2
    assert measured["predicted"][3:].tolist() == measured["vote"][3:].tolist() == [0, 1]
    assert measured["correct_radius"][3] == measured["radius"][3] > 0.3
    assert measured["correct_radius"][[0, 1, 2, 4]].tolist() == [0] * 4


def test_fewer_certificates_are_wrong_than_alpha_allows():
    """On the boundary's side, at a distance of half a sigma, with a lax alpha: wrong is a radius above the distance."""
    model, alpha, count = smoothed(), 0.1, 3_000
    distances = torch.full((count,), 0.25)
    measured = found(model, images_at(distances, model), n=150, n0=20, alpha=alpha)
    wrong = (measured["radius"].nan_to_num(0) > 0.25) | (measured["predicted"] == 1)
    assert 0.03 < wrong.double().mean().item() < alpha


@pytest.mark.parametrize("fixed_batch", [None, 16])
@pytest.mark.parametrize("size", [1, 3])
def test_an_image_has_the_same_radius_in_every_batch(size, fixed_batch):
    model = smoothed(classes=3)
    images, samples = torch.rand(7, 1, 2, 2, dtype=torch.float64), torch.tensor([5, 3, 8, 0, 11, 2, 6])
    how = {"n": 300, "n0": 20}
    whole = found(model, images, samples=samples, **how)
    parts = [
        found(model, part, samples=names, fixed_batch=fixed_batch, **how)
        for part, names in zip(images.split(size), samples.split(size), strict=True)
    ]
    for name, values in whole.items():
        assert torch.equal(torch.cat([part[name] for part in parts]).nan_to_num(-1), values.nan_to_num(-1))


def test_memory_is_bounded_and_each_sample_costs_n0_and_n_forwards(monkeypatch):
    model, sizes = smoothed(), []
    monkeypatch.setattr("tasks.probes.certified_radius._VALUES", {"cpu": 400})
    model.body.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    small = found(model, images_at(torch.tensor([0.1, 0.2, 0.4]), model), n=500, n0=30)
    assert max(sizes) <= 100
    assert sum(sizes) == 3 * 530
    monkeypatch.undo()
    large = found(model, images_at(torch.tensor([0.1, 0.2, 0.4]), model), n=500, n0=30)
    assert torch.equal(small["p_lower"], large["p_lower"])


def test_the_models_own_noise_is_left_out_meanwhile_and_put_back():
    model, bare = smoothed(0.5), toy(2, std=(STD,))
    before, images = model.input, images_at(torch.tensor([0.1, 0.4, -0.3]), toy(2, std=(STD,)))
    with_layer, without = found(model, images), found(bare, images, sigma=0.5)
    assert model.input is before
    assert isinstance(model.input[-1], GaussianNoise)
    assert torch.equal(with_layer["p_lower"], without["p_lower"])


def test_the_noise_is_put_back_when_a_pass_fails():
    model = smoothed()
    with pytest.raises(RuntimeError):
        found(model, torch.zeros(1, 1, 3, 3, dtype=torch.float64))
    assert isinstance(model.input[-1], GaussianNoise)


def test_another_sigma_may_be_asked_for_and_must_be_where_the_model_has_none():
    model, distance = smoothed(0.5), torch.tensor([0.2])
    wide = found(model, images_at(distance, model), sigma=2.0, n=20_000)
    assert wide["radius"].item() == pytest.approx(0.2, abs=0.1)
    assert torch.allclose(wide["radius"], 2.0 * torch.special.ndtri(wide["p_lower"]))
    with pytest.raises(TaskError, match="the model has 0 smoothing layers, so sigma must be given"):
        found(toy(2), torch.zeros(1, 1, 2, 2, dtype=torch.float64))


class Coin(nn.Module):
    """Moves each image by a draw that decides its class."""

    stochastic = True

    def forward(self, images):
        return images + 100 * noise.normal(images)


def test_what_else_a_model_draws_is_drawn_anew_for_each_vote():
    model = smoothed()
    model.input.append(Coin())
    measured = found(model, images_at(torch.tensor([0.3, 0.3]), model), n=400)
    assert ((measured["p_lower"] - 0.5).abs() < 0.2).all()
    assert measured["abstained"].all()
