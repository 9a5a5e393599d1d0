"""Heads: their log-probabilities and gradients against the published definitions, evaluated with 60 digits.

Those of sparsemax, which have kinks, are in test_sparsemax.py.
"""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext

import pytest
import torch
from torch import nn

from tasks.heads.cons import cons
from tasks.heads.softmax import softmax
from tasks.heads.softrmax import softrmax
from tasks.heads.taylor_softmax import taylor_softmax
from tasks.registry import load, names

Exact = list[Decimal]


def softmax_by_definition(scores: Exact) -> Exact:
    return [(z - max(scores)).exp() for z in scores]


def softrmax_by_definition(scores: Exact) -> Exact:
    return [
        1 / sum(((z - (1 if i == j else 0)) ** 2 for j, z in enumerate(scores)), Decimal(0)) for i in range(len(scores))
    ]


def cons_by_definition(scores: Exact) -> Exact:
    return [z + (1 + z * z).sqrt() for z in scores]


def taylor_softmax_by_definition(scores: Exact) -> Exact:
    """Of z = s - 1, which is one of the two outputs of the linear layer whose score is |s|."""
    return [1 + (s - 1) + (s - 1) ** 2 / 2 for s in scores]


DEFINITIONS: dict[str, Callable[[Exact], Exact]] = {
    "softmax": softmax_by_definition,
    "softrmax": softrmax_by_definition,
    "cons": cons_by_definition,
    "taylor_softmax": taylor_softmax_by_definition,
}
HEADS = {"softmax": softmax, "softrmax": softrmax, "cons": cons, "taylor_softmax": taylor_softmax}
ORDINARY = [[0.3, -1.2, 2.0, 0.0], [5.0, 4.0, -30.0, 12.0], [1e-8, -1e-8, 2e-8, 0.0], [0.9, 0.1, 0.05, -0.02]]
EXTREME = [
    [1e6, -1e6, 3e5, 0.0],
    [-1e6, -2e6, -1e6, -3e6],
    [1e6, 999_999.0, 0.0, 0.0],
    [40.0, 39.0, -1e6, 1e-8],
    [1.0, 1e-7, 0.0, 0.0],
    [1.0, 1e-4, -1e-5, 1e-6],
    [0.5, 0.5, 0.0, 0.0],
]


def exact_log_probabilities(name: str, scores: Exact) -> Exact:
    weights = DEFINITIONS[name](scores)
    total = sum(weights, Decimal(0)).ln()
    return [weight.ln() - total for weight in weights]


def exact_gradient(name: str, scores: Exact, label: int) -> list[float]:
    """Of log p_label, by central differences with a step of 1e-20 and 60 digits."""
    step = Decimal("1e-20")
    gradient = []
    for k in range(len(scores)):
        up, down = ([z + sign * step * (i == k) for i, z in enumerate(scores)] for sign in (1, -1))
        difference = exact_log_probabilities(name, up)[label] - exact_log_probabilities(name, down)[label]
        gradient.append(float(difference / (2 * step)))
    return gradient


def measured(name: str, scores: torch.Tensor, label: int) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = scores.clone().requires_grad_()
    log_probabilities = HEADS[name](3, len(scores)).log_probabilities(leaf.unsqueeze(0))[0]
    (gradient,) = torch.autograd.grad(log_probabilities[label], leaf)
    return log_probabilities.detach(), gradient


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("scores", ORDINARY + EXTREME)
def test_log_probabilities_and_gradients_are_those_of_the_definition(name, scores):
    given = torch.tensor(scores)
    with localcontext() as context:
        # Softmax of scores 1e6 apart has probabilities of exp(-1e6), which need no digits but much exponent.
        context.prec, context.Emin = 60, -10_000_000
        exact = [Decimal(z) for z in given.tolist()]
        expected = [float(log_p) for log_p in exact_log_probabilities(name, exact)]
        gradients = [exact_gradient(name, exact, label) for label in range(len(exact))]
    for label, gradient in enumerate(gradients):
        log_probabilities, slope = measured(name, given, label)
        assert log_probabilities.tolist() == pytest.approx(expected, rel=3e-6, abs=1e-6)
        # Where 1 - p is lost to rounding, Taylor softmax's gradient in that score is this small beside the others'.
        lost = 2.5e-4 if name == "taylor_softmax" else 2e-5
        assert slope.tolist() == pytest.approx(gradient, rel=2e-4, abs=lost * max(map(abs, gradient)) + 1e-30)


@pytest.mark.parametrize("num_classes", [2, 10, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softrmax_is_finite_on_every_exact_unit_vector(num_classes, dtype):
    scores = torch.eye(num_classes, dtype=dtype, requires_grad=True)
    log_probabilities = softrmax(3, num_classes).log_probabilities(scores)
    assert log_probabilities.dtype == dtype
    assert log_probabilities.diagonal().exp().min() > 1 - 1e-6
    for labels in (torch.arange(num_classes), torch.arange(num_classes).roll(1)):
        loss = nn.functional.nll_loss(log_probabilities, labels)
        (gradient,) = torch.autograd.grad(loss, scores, retain_graph=True)
        assert log_probabilities.isfinite().all()
        assert gradient.isfinite().all()


def test_softrmax_tends_to_indifference_far_from_the_origin():
    log_probabilities = softrmax(3, 10).log_probabilities(torch.randn(20, 10) * 1e6)
    assert log_probabilities.exp().flatten().tolist() == pytest.approx([0.1] * 200, abs=1e-5)


def scores_and_outputs(name: str, count: int, scale: float) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A head whose linear layer is the identity, random outputs of that layer, and the scores made of them."""
    head = load("head", name)(count, count)
    nn.init.eye_(head.weight)
    nn.init.zeros_(head.bias)
    torch.manual_seed(0)
    outputs = (torch.randn(100, count) * scale).requires_grad_()
    return head, head(outputs), outputs


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("num_classes", [2, 100])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e6, 1e18])
def test_extreme_scores_have_the_values_and_gradients_of_float64(name, num_classes, scale):
    head, scores, _ = scores_and_outputs(name, num_classes, scale)
    found = []
    for dtype in (torch.float32, torch.float64):
        leaf = scores.detach().to(dtype).requires_grad_()
        log_probabilities = head.log_probabilities(leaf)
        (gradient,) = torch.autograd.grad(log_probabilities[:, 0].sum(), leaf)
        found.append((log_probabilities.detach().double(), gradient.double()))
    (value, gradient), (exact_value, true_gradient) = found
    assert torch.allclose(value, exact_value, rtol=1e-5, atol=1e-5)
    # Float32 has no 1 - p for a p this near to 1, and softRmax's gradients far out are 0 but for rounding.
    resolved = exact_value[:, 0] < math.log(0.999)
    largest = true_gradient.abs().amax(dim=1, keepdim=True).clamp(min=1e-24)
    assert ((gradient - true_gradient).abs() / largest)[resolved].max() < 1e-4


@pytest.mark.parametrize("name", names("head"))
def test_a_head_is_one_linear_layer_from_features_to_scores(name):
    head = load("head", name)(5, 3)
    features = torch.randn(7, 5)
    outputs = features @ head.weight.T + head.bias
    expected = (1 + outputs).abs() if name == "taylor_softmax" else outputs
    assert head(features).shape == (7, 3)
    assert torch.allclose(head(features), expected, atol=1e-6)
    assert set(head.state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize("num_classes", [2, 100])
@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0, -1e3])
def test_taylor_softmax_is_that_of_the_paper_though_it_is_neither_monotone_nor_free_of_shifts(num_classes, shift):
    head, *_ = scores_and_outputs("taylor_softmax", num_classes, 1.0)
    outputs = torch.randn(50, num_classes, dtype=torch.float64) * 3 + shift
    numerators = 1 + outputs + outputs**2 / 2
    scores = head.double()(outputs)
    expected = numerators / numerators.sum(dim=1, keepdim=True)
    assert torch.allclose(head.log_probabilities(scores).exp(), expected, rtol=1e-12)
    assert torch.equal(scores.argmax(dim=1), expected.argmax(dim=1))
    if shift < 0:
        assert not torch.equal(scores.argmax(dim=1), outputs.argmax(dim=1))


def test_taylor_softmax_has_a_gradient_where_its_numerator_is_least():
    head, *_ = scores_and_outputs("taylor_softmax", 2, 1.0)
    outputs = torch.tensor([[-1.0, -1.0], [-1.0, 3e38], [-3e38, 3e38]], requires_grad=True)
    log_probabilities = head.log_probabilities(head(outputs))
    (gradient,) = torch.autograd.grad(log_probabilities[:, 0].sum(), outputs)
    assert log_probabilities.isfinite().all()
    assert gradient[0].tolist() == [0, 0]
    assert gradient.isfinite().all()
