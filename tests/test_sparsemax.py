"""Sparsemax: the projection by brute force, the paper's loss, and what an attack sees of impossible classes."""

import math
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.heads.sparsemax import _projection, sparsemax
from tasks.model import Classifier

FLOOR = 1e-9
EXTREMES = [1e-8, 1.0, 1e3, 1e6, 1e18]


def drawn(num_classes: int, scale: float, dtype: torch.dtype = torch.float64, rows: int = 60) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(rows, num_classes, dtype=dtype) * scale


def log_probabilities(scores: Tensor) -> Tensor:
    return sparsemax(3, scores.shape[1]).log_probabilities(scores)


def losses(scores: Tensor, labels: Tensor) -> Tensor:
    return sparsemax(3, scores.shape[1]).losses(scores, labels)


def threshold_by_bisection(scores: Tensor) -> Tensor:
    """The tau at which max(z - tau, 0) sums to 1, (batch, 1): it lies between the largest score less 1 and itself."""
    high = scores.amax(dim=1, keepdim=True)
    low = high - 1
    for _ in range(80):
        middle = (low + high) / 2
        too_low = (scores - middle).clamp(min=0).sum(dim=1, keepdim=True) > 1
        low, high = torch.where(too_low, middle, low), torch.where(too_low, high, middle)
    return (low + high) / 2


def nearest_by_brute_force(scores: Tensor) -> Tensor:
    """The nearest point of the simplex to one vector of scores: the best of the nearest points of all its faces."""
    found = []
    for size in range(1, len(scores) + 1):
        for face in map(list, combinations(range(len(scores)), size)):
            point = torch.zeros_like(scores)
            point[face] = scores[face] - (scores[face].sum() - 1) / size
            if bool((point >= 0).all()):
                found.append(point)
    return min(found, key=lambda point: float((point - scores).square().sum()))


@pytest.mark.parametrize("num_classes", [2, 3, 5])
@pytest.mark.parametrize("scale", [1e-8, 0.1, 0.5, 3.0])
def test_probabilities_are_the_nearest_point_of_the_simplex(num_classes, scale):
    scores = drawn(num_classes, scale)
    expected = torch.stack([nearest_by_brute_force(row) for row in scores])
    assert torch.allclose(log_probabilities(scores).exp(), expected, rtol=1e-12, atol=FLOOR / 2)


@pytest.mark.parametrize("num_classes", [2, 10, 100])
@pytest.mark.parametrize("scale", [0.01, 0.3, 2.0, 50.0])
def test_many_classes_are_left_without_probability(num_classes, scale):
    scores = drawn(num_classes, scale)
    expected = (scores - threshold_by_bisection(scores)).clamp(min=0)
    assert torch.allclose(log_probabilities(scores).exp(), expected, rtol=1e-9, atol=FLOOR / 2)
    assert torch.equal(_projection(scores)[2], expected > 1e-12)
    if scale >= 2:
        assert ((expected > 0).sum(dim=1) < max(num_classes, 3)).all()


@pytest.mark.parametrize("num_classes", [2, 100])
@pytest.mark.parametrize("shift", [-1e6, 7.0, 1e6])
def test_a_common_shift_changes_nothing_but_a_scale_does(num_classes, shift):
    scores = drawn(num_classes, 0.3)
    labels = scores.argmin(dim=1)
    shifted = scores + shift
    assert torch.allclose(log_probabilities(shifted).exp(), log_probabilities(scores).exp(), atol=1e-8)
    assert torch.allclose(losses(shifted, labels), losses(scores, labels), atol=1e-8)
    assert (log_probabilities(10 * scores).exp() - log_probabilities(scores).exp()).abs().max() > 0.1


@pytest.mark.parametrize("num_classes", [2, 10, 100])
@pytest.mark.parametrize("scale", [0.01, 0.3, 2.0, 50.0])
def test_the_loss_is_that_of_the_paper_and_its_gradient_the_error_of_the_probabilities(num_classes, scale):
    scores = drawn(num_classes, scale).requires_grad_()
    labels = torch.arange(60) % num_classes
    tau = threshold_by_bisection(scores.detach())
    supported = torch.where(scores > tau, scores.square() - tau.square(), 0).sum(dim=1)
    expected = -scores.gather(1, labels[:, None])[:, 0] + supported / 2 + 0.5
    found = losses(scores, labels)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert found.min() > -1e-12
    (gradient,) = torch.autograd.grad(found.sum(), scores)
    error = (scores.detach() - tau).clamp(min=0) - nn.functional.one_hot(labels, num_classes)
    assert torch.allclose(gradient, error, atol=1e-12)


def test_the_loss_of_two_classes_is_a_huber_loss_of_the_lead():
    lead = torch.linspace(-3, 3, 25, dtype=torch.float64)
    scores = torch.stack([lead / 2, -lead / 2], dim=1)
    huber = torch.where(lead >= 1, 0, torch.where(lead <= -1, -lead, (lead - 1).square() / 4))
    assert torch.allclose(losses(scores, torch.zeros(25, dtype=torch.int64)), huber, atol=1e-12)


@pytest.mark.parametrize("num_classes", [2, 10])
def test_gradients_and_second_derivatives_are_those_of_finite_differences(num_classes):
    scores = drawn(num_classes, 0.5, rows=6).requires_grad_()
    labels = torch.arange(6) % num_classes
    assert torch.autograd.gradcheck(lambda z: losses(z, labels), scores)
    assert torch.autograd.gradgradcheck(lambda z: losses(z, labels), scores)
    assert torch.autograd.gradcheck(log_probabilities, scores)
    jacobian = torch.autograd.functional.jacobian(lambda z: log_probabilities(z[None])[0].exp(), scores[0])
    inside = (log_probabilities(scores)[0] > math.log(FLOOR)).double()
    assert torch.allclose(jacobian, inside.diag() - inside.outer(inside) / inside.sum(), atol=1e-9)


@pytest.mark.parametrize("gap", [0.0, 0.5, 1 - 1e-4, 1 - 2 * FLOOR, 1.0, 1.001, 2.0, 1e6])
def test_the_stand_in_of_a_probability_of_zero_falls_with_the_score(gap):
    scores = torch.tensor([[0.0, -gap]], dtype=torch.float64, requires_grad=True)
    above, slope = ((1 - gap) / 2, 0.5) if gap < 1 else (1 - gap, 1.0)
    exact = above > FLOOR * (1 + 1e-6)
    expected = math.log(above) if exact else math.log(FLOOR**2 / (2 * FLOOR - above))
    found = log_probabilities(scores)[0, 1]
    assert float(found.detach()) == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(found, scores)
    # At a gap of exactly 1 the class is not part of the support: its slope is that from below.
    steepness = slope / above if exact else slope / (2 * FLOOR - above)
    assert gradient[0].tolist() == pytest.approx([-steepness, steepness], rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_classes", [2, 10, 100])
@pytest.mark.parametrize("scale", EXTREMES)
def test_everything_is_finite_at_extreme_scores(dtype, num_classes, scale):
    scores = torch.cat([drawn(num_classes, scale, dtype), torch.eye(num_classes, dtype=dtype) * scale])
    scores = torch.cat([scores, torch.full((1, num_classes), scale, dtype=dtype)]).requires_grad_()
    labels = torch.arange(len(scores)) % num_classes
    found = log_probabilities(scores)
    assert torch.logsumexp(found, dim=1).abs().max() < 2e-6
    assert (found.gather(1, scores.argsort(dim=1)).diff(dim=1) >= 0).all()
    for made in (found, losses(scores, labels), losses(scores, scores.argmax(dim=1))):
        assert made.isfinite().all()
        for rows in (made.sum(), made[::2].sum()):
            (gradient,) = torch.autograd.grad(rows, scores, retain_graph=True)
            assert gradient.isfinite().all()


@pytest.mark.parametrize("num_classes", [2, 100])
@pytest.mark.parametrize("scale", EXTREMES)
def test_float32_has_the_losses_and_probabilities_of_float64(num_classes, scale):
    scores = drawn(num_classes, scale, torch.float32)
    labels = torch.arange(60) % num_classes
    for rounded, exact in (
        (losses(scores, labels), losses(scores.double(), labels)),
        (log_probabilities(scores).exp(), log_probabilities(scores.double()).exp()),
    ):
        assert torch.allclose(rounded.double(), exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lead", [1.5, 10.0, 1e4])
def test_an_attack_finds_a_direction_where_the_probability_is_exactly_one(lead):
    head = sparsemax(3, 3)
    nn.init.eye_(head.weight)
    nn.init.constant_(head.bias, 0)
    # Features are the pixels times `lead`: class 0 leads, class 1 is nearer than class 2.
    model = Classifier(nn.Flatten(), head, shape=(1, 1, 3), num_classes=3, mean=(0.0,), std=(1 / lead,))
    images, labels = torch.tensor([[[[1.0, 0.0, -0.5]]]]), torch.tensor([0])
    seen = CountedModel(model, torch.tensor([7]), Budget("linf", None), num_classes=3)
    assert float(seen.loss(seen(images).detach(), labels)) == 0
    assert float(seen.ascent(images, labels, "head")[0].abs().max()) == 0
    gradient = seen.ascent(images, labels)[0].flatten()
    assert gradient[0] < 0 < gradient[2] < gradient[1]


def test_training_by_the_loss_ends_at_exactly_zero_with_hard_probabilities():
    torch.manual_seed(0)
    centres = 3 * torch.eye(4)
    labels = torch.arange(200) % 4
    features = centres[labels] + 0.1 * torch.randn(200, 4)
    head = sparsemax(4, 4)
    optimiser = torch.optim.SGD(head.parameters(), lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        loss = head.losses(head(features), labels).mean()
        loss.backward()
        optimiser.step()
    scores = head(features)
    assert torch.equal(scores.argmax(dim=1), labels)
    assert float(loss.detach()) < 1e-3
    assert (head.log_probabilities(scores).exp() < 1e-9).float().mean() > 0.7
