"""Activations: the smooth and fixed ones against their formulas."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from tasks.activations.relu import relu
from tasks.activations.relu6 import relu6
from tasks.activations.sigmoid import sigmoid
from tasks.activations.tanh import tanh

TEMPERATURES = [2.0**power for power in range(-6, 5)]
# Computed from the paper's definitions for temperatures of 1/64, 1/32, ..., 16, to six digits.
R1 = [0.0809991, 0.109206, 0.158082, 0.243528, 0.406126, 0.742391, 1.43993, 2.85554, 5.69866, 11.3911, 22.779]
R2 = [0.183746, 0.345831, 0.648339, 1.21003, 2.24674, 4.14677, 7.5999, 13.8115, 24.8424, 44.1073, 76.9939]


@pytest.mark.parametrize("make", [relu, relu6, sigmoid, tanh, lambda: sigmoid(temperature=0.25)])
def test_the_fixed_activations_have_the_gradients_of_their_values(make):
    net = torch.tensor([-7.3, -1.0, -0.2, 0.2, 1.0, 5.8, 6.3], dtype=torch.float64, requires_grad=True)
    assert gradcheck(make(), net)


def test_the_fixed_activations_follow_their_formulas():
    net = torch.linspace(-8, 8, 33, dtype=torch.float64)
    values = net.tolist()
    assert relu()(net).tolist() == [max(x, 0) for x in values]
    assert relu6()(net).tolist() == [min(max(x, 0), 6) for x in values]
    assert tanh()(net).tolist() == pytest.approx([math.tanh(x) for x in values])
    for temperature in (0.25, 1.0, 16.0):
        expected = [1 / (1 + math.exp(-x / temperature)) for x in values]
        assert sigmoid(temperature=temperature)(net).tolist() == pytest.approx(expected, rel=1e-12)


def test_the_gradients_of_the_rectifiers_are_zero_at_their_kinks():
    net = torch.tensor([0.0, 6.0], requires_grad=True)
    for make, expected in ((relu, [0.0, 1.0]), (relu6, [0.0, 0.0])):
        (gradient,) = torch.autograd.grad(make()(net).sum(), net)
        assert gradient.tolist() == expected


@pytest.mark.parametrize(("make", "end"), [(relu, math.inf), (relu6, 6.0)])
def test_a_rectifier_is_linear_where_its_gradient_is_not_zero(make, end):
    net = torch.tensor([-2.0, 0.0, 1e-6, 3.0, 6.0, 7.0], requires_grad=True)
    linear, saturated = make().regimes(net)
    (gradient,) = torch.autograd.grad(make()(net).sum(), net)
    assert torch.equal(linear, gradient != 0)
    assert torch.equal(saturated, ~linear)
    assert linear.tolist() == [0 < x < end for x in net.tolist()]


def test_a_steep_sigmoid_has_gradients_of_exactly_zero_where_its_docstring_says():
    net = torch.tensor([16.0, 18.0, -80.0, -105.0]).div(64).requires_grad_()
    (gradient,) = torch.autograd.grad(sigmoid(temperature=1 / 64)(net).sum(), net)
    assert (gradient == 0).tolist() == [False, True, False, True]


@pytest.mark.parametrize(("temperature", "r1", "r2"), list(zip(TEMPERATURES, R1, R2, strict=True)))
def test_the_regimes_of_a_sigmoid_end_where_the_paper_s_definitions_put_them(temperature, r1, r2):
    ends = torch.tensor([r1, r2], dtype=torch.float64)
    for sign in (1, -1):
        inside = sigmoid(temperature=temperature).regimes(sign * ends * (1 - 1e-5))
        outside = sigmoid(temperature=temperature).regimes(sign * ends * (1 + 1e-5))
        assert [mask.tolist() for mask in inside] == [[True, False], [False, False]]
        assert [mask.tolist() for mask in outside] == [[False, False], [False, True]]


@pytest.mark.parametrize(
    ("module", "slope_at_0"), [(tanh(), 1.0), (sigmoid(temperature=0.5), 0.5), (sigmoid(temperature=8), 1 / 32)]
)
@pytest.mark.parametrize(("linear_distance", "slope"), [(0.05, 0.0005), (0.2, 0.01)])
def test_regimes_are_the_distance_from_the_tangent_and_the_size_of_the_derivative(
    module, slope_at_0, linear_distance, slope
):
    net = torch.linspace(-60, 60, 7001, dtype=torch.float64, requires_grad=True)
    output = module(net)
    (derivative,) = torch.autograd.grad(output.sum(), net)
    tangent = module(torch.zeros(1, dtype=torch.float64)) + slope_at_0 * net
    distance = (output - tangent).abs() / math.hypot(1, slope_at_0)
    linear, saturated = module.regimes(net, linear_distance=linear_distance, slope=slope)
    assert torch.equal(linear, distance <= linear_distance)
    assert torch.equal(saturated, derivative <= slope)


def test_the_regimes_of_flat_curves_and_of_extreme_bounds():
    net = torch.tensor([0.0, 1.0, 1000.0], dtype=torch.float64)
    # The derivative at 0 is 1 / 2400, below the bound: all is saturated, and the beginning linear as well.
    linear, saturated = sigmoid(temperature=600).regimes(net)
    assert saturated.all()
    assert linear.tolist() == [True, True, False]
    assert not sigmoid().regimes(net, slope=0.0)[1].any()
    assert sigmoid().regimes(net, linear_distance=0.0)[0].tolist() == [True, False, False]
