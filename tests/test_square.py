"""The Square Attack: what it proposes, what it keeps, and how far it gets on models with closed-form answers."""

import pytest
import torch
from attack_toys import Toy, attacked, conv_net, linear, pixels
from torch import nn

from tasks import noise
from tasks.attacks._squares import L2Squares, LinfSquares, _bump, _hill, _Windows
from tasks.attacks.square import _Plan, square
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import frozen, margins
from tasks.streams import Streams

LINF, L2 = Budget("linf", 0.1), Budget("l2", 0.3)
UNBOXED = torch.full((1, 1, 1, 1), -torch.inf), torch.full((1, 1, 1, 1), torch.inf)


def called(model, budget, images, labels=None, targets=None, samples=None, **parameters):
    """The attack itself: images, steps, the counting model."""
    labels = model(images).argmax(1).detach() if labels is None else labels
    samples = torch.arange(len(images)) if samples is None else samples
    with frozen(model):
        counted = CountedModel(model, samples, budget, num_classes=4, targets=targets)
        found, steps = square(counted, images, labels, budget, Streams("key", samples, targets), **parameters)
    return found, steps, counted


def gap(model):
    return (model.body[1].weight[0] - model.body[1].weight[1]).detach()


class Watched(Toy):
    """Keeps every image that it is shown."""

    def __init__(self, toy):
        super().__init__(toy.body, float(toy.mean.mean()), float(toy.std.mean()))
        self.double()
        self.seen = []

    def forward(self, images):
        self.seen.append(images.clone())
        return super().forward(images)


class Noisy(Toy):
    """Each draw adds noise to the scores."""

    stochastic = True

    def forward(self, images):
        scores = super().forward(images)
        return scores + 0.3 * noise.normal(scores)


def test_in_linf_a_linear_model_is_driven_to_its_analytic_margin():
    model, images = linear(2, seed=2), 0.4 + 0.2 * pixels(20)
    rows = attacked(model, "square", LINF, images, stop="never", queries=1500)
    for row, margin in zip(rows, margins(model(images), model(images).argmax(1)).tolist(), strict=True):
        assert row["adv_margin"] == pytest.approx(margin - 0.1 * float(gap(model).abs().sum()), abs=1e-5)


def test_a_lucky_point_of_a_model_that_draws_does_not_end_the_search():
    plain, images = linear(2, seed=2), 0.4 + 0.2 * pixels(12)
    model, samples, labels = Noisy(plain.body).double(), torch.arange(12), plain(images).argmax(1).detach()
    with frozen(model):
        streams = Streams("key", samples)
        view = CountedModel(model, samples, LINF, num_classes=2, eot=10, noise=streams, stopping="confirmed")
        found, _ = square(view, images, labels, LINF, streams, queries=300, stop="never")
        lowered = margins(plain(images), labels) - margins(plain(found), labels)
        share = lowered / (0.1 * gap(plain).abs().sum())
    assert 0.92 < float(share.mean()) <= 1
    assert float(view.forwards.double().mean()) < 5000


def test_in_l2_a_linear_model_is_driven_most_of_the_way():
    model, images = linear(2, seed=2), 0.4 + 0.2 * pixels(20)
    rows = attacked(model, "square", L2, images, stop="never", queries=1500)
    for row, margin in zip(rows, margins(model(images), model(images).argmax(1)).tolist(), strict=True):
        share = (margin - row["adv_margin"]) / (0.3 * float(gap(model).norm()))
        assert 0.6 < share <= 1 + 1e-6


@pytest.mark.parametrize("shape", [(1, 6, 6), (1, 3, 9), (2, 9, 4)])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_squares_reach_the_last_row_and_column(norm, shape):
    model = linear(2, shape=shape)
    with torch.no_grad():
        weight = torch.zeros(2, *shape, dtype=torch.float64)
        weight[0, :, -1, -1] = 1.0
        model.body[1].weight.copy_(weight.flatten(1))
        model.body[1].bias.copy_(torch.tensor([0.0, -1.0]))
    images = 0.4 + 0.2 * pixels(20, shape)
    found, _, _ = called(model, Budget(norm, 0.2), images, stop="never", queries=600)
    moved = (images - found)[:, :, -1, -1]
    assert bool((moved > (0.199 if norm == "linf" else 0)).all())  # half of the starts have the other sign


def test_a_square_lies_anywhere_and_nowhere_else():
    windows = _Windows((2, 5, 7))
    ends = torch.tensor([[0.0, 0.0], [1 - 2**-24, 1 - 2**-24]])
    first, last = windows.pixels(windows.corners(ends[None], 3)[0], 3)
    assert first[0].tolist() == [0, 1, 2, 7, 8, 9, 14, 15, 16]
    assert last[1].tolist() == [18, 19, 20, 25, 26, 27, 32, 33, 34]


def test_the_side_follows_the_schedule_of_the_paper():
    steps = [1, 11, 12, 51, 52, 202, 502, 1002, 2002, 4002, 6002, 8002, 9999]
    linf, l2 = (
        [_Plan(kind(1.0, UNBOXED, (1, 28, 28)), 10_000, 0.8, "margin", leave=True).side(step) for step in steps]
        for kind in (LinfSquares, L2Squares)
    )
    assert linf == [25, 25, 18, 18, 13, 9, 6, 4, 3, 2, 2, 1, 1]
    assert l2 == [25, 25, 19, 19, 13, 9, 7, 5, 3, 3, 3, 3, 3]
    short = _Plan(LinfSquares(1.0, UNBOXED, (1, 28, 28)), 100, 0.8, "margin", leave=True)
    assert [short.side(step) for step in (1, 2, 100)] == [25, 13, 1]


def test_every_sample_has_its_own_squares():
    images = pixels(1).expand(6, -1, -1, -1)
    labels = torch.zeros(6, dtype=torch.int64)
    samples = torch.tensor([0, 1, 2, 3, 4, 0])
    found, _, _ = called(conv_net(), LINF, images, labels, samples=samples, stop="never", queries=20)
    assert torch.equal(found[0], found[5])
    assert len(found.unique(dim=0)) == 5


def test_no_query_is_spent_on_what_is_already_there():
    images = pixels(50, (3, 4, 4)).flatten(2)
    squares = LinfSquares(0.2, (torch.zeros(1, 3, 1, 1).double(), torch.ones(1, 3, 1, 1).double()), (3, 4, 4))
    streams = Streams("key", torch.arange(50))
    points = squares.start(images, streams, 0)
    plan = squares.plan(streams.uniform("squares", range(20), (squares.numbers,), torch.float64), 1)
    for place in range(20):
        for _ in range(2):  # the second time, the same square is there already
            before = points.clone()
            (change,) = squares.propose(points, images, tuple(part[place] for part in plan), 1)
            assert bool((points != before).flatten(1).any(1).all())
            assert torch.equal(points.gather(2, change.places), change.new)


@pytest.mark.parametrize("kind", [LinfSquares, L2Squares])
def test_a_proposal_can_be_undone(kind):
    clean = pixels(30, (2, 6, 8)).flatten(2)
    squares, streams = kind(0.3, UNBOXED, (2, 6, 8)), Streams("key", torch.arange(30))
    points = squares.start(clean, streams, 0)
    plan = squares.plan(streams.uniform("squares", range(10), (squares.numbers,), torch.float64), 5)
    for place in range(10):
        before = points.clone()
        for change in squares.propose(points, clean, tuple(part[place] for part in plan), 5):
            points.scatter_(2, change.places, change.old)
        assert torch.equal(points, before)


def test_without_a_box_every_proposal_in_l2_spends_all_of_eps():
    model = Watched(conv_net())
    images = pixels(4)
    called(model, Budget("l2", 0.3, box=False), images, stop="never", queries=200)
    for seen in model.seen[2:]:  # after the test's own look and the attack's at the image
        assert torch.allclose((seen - images).flatten(1).norm(dim=1), torch.tensor(0.3, dtype=torch.float64))


def test_the_bump_is_two_hills_of_opposite_sign():
    assert torch.allclose(_hill(1, 3) / _hill(1, 3)[0, 0], torch.tensor([[1.0, 5.0, 1.0]], dtype=torch.float64))
    for side in (1, 2, 3, 6, 7):
        upright, turned = _bump(side).view(2, side, side)
        assert float(upright.norm()) == pytest.approx(1)
        assert bool((upright[: side // 2] > 0).all())
        assert bool((upright[side // 2 :] < 0).all())
        assert torch.equal(turned, upright.T)


@pytest.mark.parametrize("loss", ["margin", "cross_entropy"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_best_point_evaluated_comes_back(norm, loss):
    for sample in range(4):
        model, image = Watched(conv_net()), pixels(4)[sample : sample + 1]
        found, _, _ = called(model, Budget(norm, 0.05), image, stop="never", queries=60, loss=loss)
        with torch.no_grad():
            seen, label = torch.cat(model.seen), model(image).argmax(1)
            reached, best = (margins(model(points), label.expand(len(points))) for points in (found, seen))
            likely, likelies = (model(points).log_softmax(1)[:, label[0]] for points in (found, seen))
        if loss == "margin":
            assert float(reached) == pytest.approx(float(best.min()), abs=1e-9)
        else:
            aims = best < 0 if bool((best < 0).any()) else best > 0
            assert float(likely) == pytest.approx(float(likelies[aims].min()), abs=1e-9)


def test_a_sample_leaves_with_its_first_point_that_fools():
    images, budget = pixels(40), Budget("linf", 0.08)
    early, steps, model = called(conv_net(), budget, images, queries=100)
    late, _, _ = called(conv_net(), budget, images, queries=100, stop="never")
    labels = conv_net()(images).argmax(1)
    fooled, fooled_late = (conv_net()(found).argmax(1) != labels for found in (early, late))
    assert torch.equal(fooled, fooled_late)
    assert 5 < int(fooled.sum()) < 40
    assert torch.equal(model.forwards, steps + 1)
    assert bool((steps[~fooled] == 100).all())
    assert bool((steps[fooled] < 100).all())
    assert torch.equal(early[~fooled], late[~fooled])


def test_restarts_are_for_samples_that_are_not_fooled_yet():
    images, budget = pixels(40), Budget("linf", 0.08)
    once, _, _ = called(conv_net(), budget, images, queries=30)
    again, steps, model = called(conv_net(), budget, images, queries=30, restarts=4)
    labels = conv_net()(images).argmax(1)
    fooled, fooled_again = (conv_net()(found).argmax(1) != labels for found in (once, again))
    assert torch.equal(once[fooled], again[fooled])
    assert int(fooled_again.sum()) > int(fooled.sum())
    assert steps[~fooled_again].unique().tolist() == [120]
    assert model.forwards[~fooled_again].unique().tolist() == [121]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_aims_at_a_class(norm):
    images = 0.4 + 0.2 * pixels(10)
    rows = attacked(linear(4), "square", Budget(norm, {"linf": 0.3, "l2": 1.5}[norm]), images, targets="all")
    assert len(rows) == 30
    assert all(row["adv_pred"] == row["target"] for row in rows if row["success"])
    assert sum(row["success"] for row in rows) >= 28


@pytest.mark.parametrize("targeted", [False, True])
def test_a_sample_that_is_there_already_costs_one_look(targeted):
    images = pixels(8)
    predicted = conv_net()(images).argmax(1)
    labels = (predicted + 1) % 4
    found, steps, model = called(conv_net(), LINF, images, labels, predicted if targeted else None)
    assert torch.equal(found, images)
    assert steps.tolist() == [0] * 8
    assert model.forwards.tolist() == [1] * 8


def test_scores_may_be_shifted_and_scaled():
    columns = ("success", "steps", "linf", "l2")
    plain, other = linear(4), linear(4)
    with torch.no_grad():
        other.body[1].weight.mul_(1e3)
        other.body[1].bias.mul_(1e3).sub_(100)
    rows, scaled = (attacked(model, "square", LINF, pixels(20), queries=200) for model in (plain, other))
    assert [[row[name] for name in columns] for row in rows] == [[row[name] for name in columns] for row in scaled]
    assert sum(row["success"] for row in rows) > 0


def test_a_flat_model_changes_nothing():
    model = Toy(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)))
    with torch.no_grad():
        model.double().body[1].weight.zero_()
    found, steps, _ = called(model, LINF, pixels(3), queries=20)
    assert torch.equal(found, pixels(3))
    assert steps.tolist() == [20] * 3
