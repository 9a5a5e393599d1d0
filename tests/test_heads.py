"""Heads: their log-probabilities and gradients against the published definitions, evaluated with 60 digits."""

from collections.abc import Callable
from decimal import Decimal, localcontext

import pytest
import torch
from torch import nn

from tasks.heads.cons import cons
from tasks.heads.softmax import softmax
from tasks.heads.softrmax import softrmax
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


DEFINITIONS: dict[str, Callable[[Exact], Exact]] = {
    "softmax": softmax_by_definition,
    "softrmax": softrmax_by_definition,
    "cons": cons_by_definition,
}
HEADS = {"softmax": softmax, "softrmax": softrmax, "cons": cons}
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
        assert slope.tolist() == pytest.approx(gradient, rel=2e-4, abs=2e-5 * max(map(abs, gradient)) + 1e-30)


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


@pytest.mark.parametrize("name", names("head"))
@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1.0, 30.0, 1e3, 1e6])
def test_probabilities_sum_to_one_and_follow_the_order_of_the_scores(name, scale):
    torch.manual_seed(0)
    scores = (torch.randn(200, 10) * scale).requires_grad_()
    log_probabilities = load("head", name)(3, 10).log_probabilities(scores)
    assert torch.logsumexp(log_probabilities, dim=1).abs().max() < 1e-5
    largest = log_probabilities.gather(1, scores.argmax(dim=1, keepdim=True))[:, 0]
    assert torch.equal(largest, log_probabilities.amax(dim=1))
    (gradient,) = torch.autograd.grad(log_probabilities[:, 0].sum(), scores)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", names("head"))
def test_a_head_is_one_linear_layer_from_features_to_scores(name):
    head = load("head", name)(5, 3)
    features = torch.randn(7, 5)
    assert head(features).shape == (7, 3)
    assert torch.allclose(head(features), features @ head.weight.T + head.bias, atol=1e-6)
    assert set(head.state_dict()) == {"weight", "bias"}
