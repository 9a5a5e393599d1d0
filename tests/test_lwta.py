"""Local winner-takes-all: who wins, how often, what the KL is, and where numbers come from."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from tasks import noise
from tasks.activations.lwta import lwta
from tasks.noise import Noise, drawing, is_stochastic
from tasks.registry import describe
from tasks.streams import Streams
from tasks.types import ModelError

LOGITS = [[1.0, 0.2, -1.5], [0.0, 3.0, 2.0]]
SHAPES = [(6, 12), (3, 12, 5, 4)]


def drawn(count: int, first: int = 0) -> Noise:
    return Noise(Streams("key", torch.arange(first, first + count)), torch.zeros(count, dtype=torch.int64))


def chi_square(counts: torch.Tensor, logits: torch.Tensor) -> float:
    """Of the winners of one block; with three units, two degrees of freedom, 30 is exceeded once in three million."""
    expected = counts.sum() * torch.softmax(logits, 0)
    return float(((counts - expected).square() / expected).sum())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("units", [2, 3, 4])
@pytest.mark.parametrize("winner", ["sampled", "largest"])
def test_exactly_one_unit_of_each_block_keeps_its_value_in_evaluation(shape, units, winner):
    net = torch.randn(shape)
    output = lwta(units=units, winner=winner).eval()(net)
    kept = output != 0
    assert torch.equal(output[kept], net[kept])
    blocks = kept.view(shape[0], shape[1] // units, units, *shape[2:])
    assert (blocks.sum(2) == 1).all()


def test_blocks_are_neighbouring_units_at_each_position_for_itself():
    net = torch.tensor([[1.0, 2.0, 5.0, 4.0]])
    assert lwta(winner="largest")(net).tolist() == [[0.0, 2.0, 5.0, 0.0]]
    channels = torch.tensor([[[[1.0, 9.0]], [[2.0, 3.0]], [[-5.0, 4.0]], [[-6.0, 8.0]]]])
    output = lwta(winner="largest")(channels)
    assert output[0, :, 0].tolist() == [[0.0, 9.0], [2.0, 0.0], [-5.0, 0.0], [0.0, 8.0]]


@pytest.mark.parametrize("streams", [False, True])
def test_winners_are_as_frequent_as_the_softmax_says(streams):
    torch.manual_seed(0)
    count = 20_000
    logits = torch.tensor(LOGITS)
    # Softmax does not see a constant, and with it no value is 0.
    net = (logits + 10).view(1, -1).expand(count, -1)
    with drawing(drawn(count) if streams else None):
        winners = lwta(units=3).eval()(net).view(count, 2, 3) != 0
    for block in range(2):
        assert chi_square(winners[:, block].sum(0), logits[block]) < 30
    # Blocks are drawn independently of each other.
    together = (winners[:, 0, 0] & winners[:, 1, 1]).float().mean()
    expected = torch.softmax(logits, 1)[0, 0] * torch.softmax(logits, 1)[1, 1]
    assert abs(together - expected) < 5 * math.sqrt(0.25 / count)


def test_relaxed_winners_sum_to_one_and_tend_to_samples_of_the_softmax_at_low_temperatures():
    torch.manual_seed(0)
    count = 20_000
    logits = torch.tensor(LOGITS)
    net = (logits + 10).view(1, -1).expand(count, -1)
    for temperature, least, most in ((100.0, 1 / 3, 0.4), (0.67, 0.5, 0.9), (1e-4, 0.999, 1.0)):
        winners = (lwta(units=3, temperature=temperature)(net) / net).view(count, 2, 3)
        assert torch.allclose(winners.sum(2), torch.ones(count, 2), atol=1e-5)
        assert least < winners.amax(2).mean() < most
    for block in range(2):
        assert chi_square(winners[:, block].round().sum(0), logits[block]) < 30


def test_the_kl_of_equal_units_is_zero_and_that_of_certain_winners_the_logarithm_of_their_number():
    for units in (2, 3):
        module = lwta(units=units, kl=1.0).double()
        module(torch.full((4, 6), 0.7, dtype=torch.float64))
        assert module.penalty().item() == pytest.approx(0, abs=1e-12)
        certain = torch.zeros(4, 6, dtype=torch.float64)
        certain[:, ::units] = 1e3
        module(certain)
        assert module.penalty().item() == pytest.approx(6 / units * math.log(units))


def test_the_penalty_is_the_weighted_kl_summed_over_blocks_and_averaged_over_images():
    shares = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.25, 0.75]], dtype=torch.float64)
    kl = (shares * (2 * shares).log()).sum(1)
    dense = lwta(kl=0.3)
    dense(torch.stack([shares.log()[[0, 1]].flatten(), shares.log()[[2, 2]].flatten()]))
    assert dense.penalty().item() == pytest.approx(0.3 * (kl[0] + kl[1] + 2 * kl[2]).item() / 2)
    positions = lwta(kl=0.3)
    positions(shares.log().t().reshape(1, 2, 1, 3))
    assert positions.penalty().item() == pytest.approx(0.3 * kl.sum().item())


def test_the_penalty_concerns_the_training_passes_since_it_was_last_asked_for():
    module = lwta(kl=1.0)
    certain, equal = torch.tensor([[90.0, 0.0]]), torch.zeros(1, 2)
    assert module.penalty().item() == 0
    module(certain)
    module(equal)
    assert module.penalty().item() == pytest.approx(math.log(2) / 2)
    module.eval()(certain)
    assert module.penalty().item() == 0
    with torch.no_grad():
        module.train()(certain)
    assert module.penalty().item() == 0
    assert lwta(kl=0.0)(certain).shape == (1, 2)


def test_a_layer_is_copied_in_the_middle_of_a_batch_without_what_it_owes():
    layers = nn.Sequential(nn.Linear(4, 4), lwta())
    layers(torch.randn(3, 4))
    duplicate = copy.deepcopy(layers)
    assert duplicate[1].penalty().item() == 0
    assert layers[1].penalty().item() > 0


def test_training_has_the_gradients_of_its_values_for_given_draws(monkeypatch):
    torch.manual_seed(0)
    fixed = torch.rand(2, 3, 2, 2, dtype=torch.float64)
    monkeypatch.setattr(noise, "uniform", lambda like: fixed.clone())
    module = lwta(kl=0.3)

    def outputs(net: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output = module(net)
        return output, module.penalty()

    assert gradcheck(outputs, torch.randn(2, 6, 2, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("winner", ["sampled", "largest"])
def test_in_evaluation_gradients_flow_through_the_values_of_winners_alone(winner):
    net = torch.randn(5, 6, 3, 3, requires_grad=True)
    output = lwta(winner=winner).eval()(net)
    (gradient,) = torch.autograd.grad((2 * output).sum(), net)
    assert torch.equal(gradient, 2.0 * (output != 0))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [False, True])
def test_an_image_draws_the_same_alone_and_in_a_batch(shape, training):
    net = torch.randn(shape)
    module = lwta().train(training)
    with drawing(drawn(shape[0])):
        together = module(net)
    with drawing(drawn(1, first=2)):
        alone = module(net[2:3])
    assert torch.equal(together[2:3], alone)
    with drawing(drawn(1, first=1)):
        assert not torch.equal(module(net[2:3]), alone)


@pytest.mark.parametrize("draw", [0.0, 1 - 2.0**-24])
@pytest.mark.parametrize("training", [False, True])
def test_the_extreme_draws_give_finite_values_and_possible_winners(monkeypatch, draw, training):
    monkeypatch.setattr(noise, "uniform", lambda like: torch.full_like(like, draw, requires_grad=False))
    net = torch.tensor([[1.0, 2.0, 500.0, -500.0, -500.0, 500.0]], requires_grad=True)
    output = lwta().train(training)(net)
    (gradient,) = torch.autograd.grad(output.sum(), net)
    assert output.isfinite().all()
    assert gradient.isfinite().all()
    assert output[0, 2:].tolist() == [500.0, 0.0, 0.0, 500.0]


def test_only_sampled_winners_are_stochastic():
    assert is_stochastic(lwta())
    assert not is_stochastic(lwta(winner="largest"))
    assert describe("activation", "lwta").facts.stochastic == {"winner": ("sampled",)}
    net = torch.randn(64, 8)
    module = lwta().eval()
    assert not torch.equal(module(net), module(net))


@pytest.mark.parametrize("winner", ["sampled", "largest"])
def test_a_width_that_is_no_multiple_of_the_block_is_refused(winner):
    with pytest.raises(ModelError, match=r"7 units or channels cannot be split into blocks of 3"):
        lwta(units=3, winner=winner)(torch.zeros(1, 7))
    with pytest.raises(ModelError, match="must be 2 or more"):
        lwta(units=1, winner=winner)
