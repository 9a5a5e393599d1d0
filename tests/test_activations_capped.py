"""S-ReLU and D-ReLU: the theorems on the capped rectifier, and the gradients and the penalty of trainable caps."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from tasks.activations.drelu import drelu
from tasks.activations.relu import relu
from tasks.activations.srelu import srelu
from tasks.architectures.mlp import mlp
from tasks.registry import describe

CAPS = [0.01, 0.1, 1.0, 10.0, 100.0]


def pairs(count: int = 20_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Nets A and perturbations B, of many sizes, in float64."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(2, count, dtype=torch.float64, generator=generator)
    sizes = torch.randn(2, count, dtype=torch.float64, generator=generator).mul(2).exp()
    return (normal * sizes).unbind()


def changes(module: nn.Module, net: torch.Tensor, perturbation: torch.Tensor) -> torch.Tensor:
    return (module(net + perturbation) - module(net)).abs()


def with_caps(caps: torch.Tensor, **parameters: object) -> nn.Module:
    module = drelu(**parameters).to(caps.dtype)
    module(caps.new_zeros(1, *caps.shape))
    module.caps.data.copy_(caps)
    return module


@pytest.mark.parametrize("cap", CAPS)
def test_a_perturbation_grows_no_more_through_a_capped_rectifier_than_through_a_rectifier(cap):
    net, perturbation = pairs()
    assert (changes(srelu(cap=cap), net, perturbation) <= changes(relu(), net, perturbation)).all()


def test_a_perturbation_grows_less_the_lower_the_cap():
    net, perturbation = pairs()
    grown = [changes(srelu(cap=cap), net, perturbation) for cap in CAPS]
    for lower, higher in pairwise(grown):
        assert (lower <= higher).all()


@pytest.mark.parametrize("cap", [0.1, 1.0])
def test_the_six_cases_of_the_theorem_have_their_closed_forms(cap):
    net, perturbation = pairs()
    moved = net + perturbation
    capped = torch.full_like(net, cap)
    # The first one is |A + B| for the rectifier, and not |A - B|, as the table of the dissertation has it.
    cases = [
        ((net <= 0) & (moved > cap), moved.abs(), capped),
        ((net > 0) & (net <= cap) & (moved > cap), perturbation.abs(), (net - cap).abs()),
        ((net > cap) & (moved > cap), perturbation.abs(), torch.zeros_like(net)),
        ((net > cap) & (moved > 0) & (moved <= cap), perturbation.abs(), (moved - cap).abs()),
        ((net > cap) & (moved <= 0), net.abs(), capped),
    ]
    of_relu, of_srelu = changes(relu(), net, perturbation), changes(srelu(cap=cap), net, perturbation)
    rest = (net <= cap) & (moved <= cap)
    assert torch.equal(of_relu[rest], of_srelu[rest])
    assert sum(int(case.sum()) for case, _, _ in cases) + int(rest.sum()) == len(net)
    for case, expected, expected_capped in cases:
        assert case.sum() > 100
        assert torch.allclose(of_relu[case], expected[case])
        assert torch.allclose(of_srelu[case], expected_capped[case])


def test_the_capped_rectifier_is_the_same_as_min_and_max_with_their_gradients():
    net = torch.tensor([-3.0, -0.1, 0.1, 0.49, 0.51, 9.0], dtype=torch.float64, requires_grad=True)
    module = srelu(cap=0.5)
    assert module(net).tolist() == [max(0, min(x, 0.5)) for x in net.tolist()]
    assert gradcheck(module, net)
    linear, saturated = module.regimes(net)
    assert linear.tolist() == [False, False, True, True, False, False]
    assert torch.equal(saturated, ~linear)


def test_the_evaluation_cap_acts_in_evaluation_only():
    net = torch.tensor([0.05, 0.5, 3.0])
    module = srelu(cap=1.0, evaluation_cap=0.1)
    assert module(net).tolist() == pytest.approx([0.05, 0.5, 1.0])
    assert module.regimes(net)[0].tolist() == [True, True, False]
    module.eval()
    assert module(net).tolist() == pytest.approx([0.05, 0.1, 0.1])
    assert module.regimes(net)[0].tolist() == [True, False, False]
    assert srelu(cap=0.3).eval()(net).tolist() == pytest.approx([0.05, 0.3, 0.3])
    assert describe("activation", "srelu").facts.evaluation == ("evaluation_cap",)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3, 2)])
def test_no_output_of_drelu_exceeds_its_cap_or_falls_below_zero(shape):
    caps = torch.rand(shape[1:], dtype=torch.float64)
    net = 2 * torch.randn(shape, dtype=torch.float64)
    output = with_caps(caps)(net)
    assert torch.equal(output, torch.minimum(net, caps).clamp(min=0))
    linear, saturated = with_caps(caps).regimes(net)
    assert torch.equal(linear, (net > 0) & (net < caps))
    assert torch.equal(saturated, ~linear)


# net, cap, output, df/dx, df/dm
GRADIENTS = [
    (2.0, 1.0, 1.0, 0.0, 1.0),
    (0.5, 1.0, 0.5, 1.0, 0.0),
    (-0.5, 1.0, 0.0, 0.0, 0.0),
    (1.0, 1.0, 1.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, 0.0, 0.0),
    (2.0, 0.0, 0.0, 0.0, 0.0),
    (2.0, -1.0, 0.0, 0.0, 0.0),
    (-0.5, -1.0, 0.0, 0.0, 0.0),
    (-2.0, -1.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("x", "cap", "output", "of_net", "of_cap"), GRADIENTS)
def test_a_cap_has_a_gradient_only_where_the_net_exceeds_it_and_it_is_alive(x, cap, output, of_net, of_cap):
    module = with_caps(torch.tensor([cap]))
    net = torch.tensor([[x]], requires_grad=True)
    result = module(net)
    gradients = torch.autograd.grad(result.sum(), (net, module.caps))
    assert result.item() == output
    assert [gradient.item() for gradient in gradients] == [of_net, of_cap]


@pytest.mark.parametrize(("per", "shape"), [("neuron", (3, 4)), ("neuron", (2, 3, 2, 2)), ("channel", (2, 3, 2, 2))])
def test_the_gradients_of_drelu_are_those_of_its_values(per, shape):
    generator = torch.Generator().manual_seed(4)
    net = torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
    module = drelu(per=per, cap=0.6).double()
    module(net)
    with torch.no_grad():
        module.caps[0] *= -1

    def output(net: torch.Tensor, caps: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, {"caps": caps}, (net,))

    assert gradcheck(output, (net, module.caps))
    assert gradgradcheck(output, (net, module.caps))


def test_a_dead_cap_is_moved_by_the_penalty_alone():
    module = with_caps(torch.tensor([-0.5, 0.5]), balancer=3.0)
    (module(torch.tensor([[4.0, 4.0]])).sum() + module.penalty()).backward()
    assert module.caps.grad.tolist() == [2 * 3.0 * -0.5, 1 + 2 * 3.0 * 0.5]


def test_the_penalty_is_the_balancer_times_the_sum_of_squared_caps():
    module = with_caps(torch.tensor([1.0, -2.0, 3.0]), balancer=0.5)
    assert module.penalty().item() == 7.0
    started = drelu(balancer=1e-2)
    started(torch.zeros(1, 7))
    assert started.penalty().item() == pytest.approx(1e-2 * 7 * 100**2)
    assert with_caps(torch.ones(3), balancer=0.0).penalty().item() == 0


@pytest.mark.parametrize(
    ("per", "shape", "caps"),
    [
        ("neuron", (2, 5), (5,)),
        ("channel", (2, 5), (5,)),
        ("neuron", (2, 5, 4, 3), (5, 4, 3)),
        ("channel", (2, 5, 4, 3), (5, 1, 1)),
    ],
)
def test_the_first_pass_makes_a_cap_for_each_neuron_or_channel(per, shape, caps):
    module = drelu(per=per, cap=7.0)
    assert isinstance(module.caps, nn.UninitializedParameter)
    (kept,) = module.parameters()
    module(torch.randn(shape))
    assert module.caps is kept
    assert torch.equal(module.caps, torch.full(caps, 7.0))


def test_a_network_is_converted_before_and_after_the_first_pass():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), drelu()).to(memory_format=torch.channels_last).double()
    image = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    network(image)
    assert network[1].caps.dtype == torch.float64
    assert network.float()(image.float()).dtype == torch.float32
    assert network[1].caps.dtype == torch.float32


def test_a_network_with_trainable_caps_is_copied_saved_and_loaded():
    networks = [mlp((1, 2, 2), lambda: drelu(cap=0.2), hidden=[3, 5]).eval() for _ in range(2)]
    images = torch.randn(4, 1, 2, 2)
    for network in networks:
        network(torch.zeros(1, 1, 2, 2))
        assert [caps.shape[0] for name, caps in network.named_parameters() if "caps" in name] == [3, 5]
    with torch.no_grad():
        networks[0][2].caps.copy_(torch.tensor([0.1, -0.1, 0.7]))
    networks[1].load_state_dict(networks[0].state_dict())
    duplicate = copy.deepcopy(networks[0])
    for other in (networks[1], duplicate):
        assert torch.equal(other(images), networks[0](images))
    assert duplicate[2].caps is not networks[0][2].caps


def test_descent_lowers_caps_that_the_data_do_not_hold_up():
    torch.manual_seed(0)
    module = drelu(balancer=0.01, cap=3.0)
    net = torch.rand(64, 2) * torch.tensor([10.0, 1.0])
    module(net)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        ((module(net) - net).square().mean() + module.penalty()).backward()
        optimizer.step()
    assert module.caps[0] > 5
    assert 0 <= module.caps[1] < 1
