"""Defensive quantisation: which levels there are, where gradients pass, and what is penalised."""

import copy

import pytest
import torch
from defense_cells import cell, real_images
from torch import nn

from tasks.defenses.orthogonality import orthogonality
from tasks.defenses.parametric_noise import parametric_noise
from tasks.defenses.quantisation import quantisation, quantised
from tasks.heads.softmax import softmax
from tasks.model import Classifier, build_model, make
from tasks.registry import describe
from tasks.trainings.standard import standard
from tasks.types import ModelError

IMAGES = torch.rand(6, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def toy(activation: nn.Module, **parameters) -> Classifier:
    """One hidden layer of 40 units."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(9, 40), activation)
    model = Classifier(
        body, softmax(40, 3), shape=(1, 3, 3), num_classes=3, mean=(0.0,), std=(0.125,), activations=[activation]
    )
    quantisation(**parameters).adapt(model)
    return model.double()


@pytest.mark.parametrize(("bits", "cap"), [(1, 6.0), (2, 1.5), (3, 6.0), (5, 0.7)])
def test_values_become_the_nearest_of_the_levels(bits, cap):
    values = torch.linspace(-1, cap + 1, 1_000, dtype=torch.float64)
    levels = torch.linspace(0, cap, 2**bits, dtype=torch.float64)
    nearest = levels[(values.clamp(0, cap)[:, None] - levels).abs().argmin(1)]
    found = quantised(values, bits, 0.0, cap)
    assert torch.allclose(found, nearest, atol=1e-12)
    assert len(found.unique()) == 2**bits
    assert found.amin() == 0
    assert found.amax() == cap


def test_the_gradient_passes_straight_through_within_the_range_and_not_outside():
    values = torch.tensor([-0.1, 0.2, 3.3, 5.9, 6.1], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(quantised(values, 2, 0.0, 6.0).sum(), values)
    assert gradient.tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh(), nn.ELU()])
def test_the_head_is_given_the_quantised_activations_and_the_list_still_names_the_module(activation):
    model = toy(activation, bits=2, cap=3.0)
    net = model.body[1]((IMAGES / 0.125).flatten(1))
    expected = quantised(type(activation)()(net), 2, 0.0, 3.0)
    assert len(expected.unique()) > 1
    assert torch.equal(model.body(IMAGES / 0.125), expected)
    assert torch.equal(model(IMAGES), model.head(expected))
    seen = []
    model.activations[-1].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(IMAGES)
    assert torch.equal(seen[0], net)
    twin = copy.deepcopy(model)
    assert torch.equal(twin(IMAGES), model(IMAGES))


def test_the_penalty_is_that_of_orthogonality_and_0_leaves_it_out():
    model = toy(nn.ReLU())
    penalty = quantisation(beta=0.3).penalty(model, IMAGES, LABELS)
    assert penalty == orthogonality(beta=0.3).penalty(model, IMAGES, LABELS)
    assert quantisation(beta=0.0).penalty is None
    assert describe("defense", "quantisation").parameters["beta"].default == (
        describe("defense", "orthogonality").parameters["beta"].default
    )


@pytest.mark.parametrize("bits", [1, 3])
def test_weights_are_rounded_between_plus_and_minus_the_largest_and_gradients_reach_them(bits):
    model = toy(nn.ReLU(), weight_bits=bits)
    original = model.head.parametrizations.weight.original
    largest = original.detach().abs().max()
    levels = torch.linspace(-1, 1, 2**bits, dtype=torch.float64) * largest
    expected = levels[(original.detach()[..., None] - levels).abs().argmin(-1)]
    assert torch.allclose(model.head.weight, expected, atol=1e-12)
    model(IMAGES).square().sum().backward()
    assert original.grad.abs().sum() > 0
    with torch.no_grad():
        original.zero_()
    assert model.head.weight.abs().max() < 1e-300


def test_an_activation_that_is_not_in_the_body_is_refused():
    model = toy(nn.ReLU())
    model.activations = [nn.Sigmoid()]
    with pytest.raises(ModelError, match="Sigmoid is listed as an activation but not used"):
        quantisation().adapt(model)


def test_it_goes_together_with_noise_in_the_weights_in_either_order():
    both = [parametric_noise().adapt, quantisation(weight_bits=2).adapt]
    for first, second in (both, both[::-1]):
        torch.manual_seed(0)
        model = Classifier(nn.Flatten(), softmax(9, 3), shape=(1, 3, 3), num_classes=3, mean=(0.0,), std=(1.0,))
        first(model)
        second(model)
        assert not torch.equal(model.double()(IMAGES), model(IMAGES))
        assert len(model.head.weight.unique()) <= 4


@pytest.mark.parametrize("parameters", [{}, {"bits": 1, "cap": 1.0}, {"weight_bits": 4}])
def test_two_epochs_on_real_images_lower_the_loss_and_a_rebuilt_model_scores_the_same(parameters):
    splits = real_images()
    settings = cell("mlp", "quantisation", **parameters)
    model = build_model(settings, splits[0])
    history = standard(model, *splits, make(settings.defense), 0, epochs=2, batch_size=32, lr=2e-3)
    before, after = history["loss"].to_pylist()
    assert after < before
    again = build_model(settings, splits[0])
    again.load_state_dict(model.state_dict())
    images = splits[1].images / 255
    assert torch.equal(again.eval()(images), model.eval()(images))
    assert len(model.body((images - model.mean) / model.std).unique()) <= 2 ** parameters.get("bits", 4)
