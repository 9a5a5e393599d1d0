"""APGD against linear models, and its objectives against their formulas."""

import pytest
import torch
from attack_toys import attacked, conv_net, linear, pixels, seeded

from tasks import registry
from tasks.attacks._dlr import dlr, dlr_towards, log_odds
from tasks.attacks.apgd import _checkpoints, _random_point, _Walk
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import frozen
from tasks.streams import Streams

LOSSES = ["ce", "dlr", "targeted_dlr"]


def called(model, images, labels, budget, targets=None, **parameters):
    """The attack itself, without the judge: images, steps, scores of the images, and the model that counted."""
    with frozen(model):
        rows = torch.arange(len(images))
        num_classes = model(images).shape[1]
        counted = CountedModel(model, rows, budget, num_classes=num_classes, targets=targets)
        attack = registry.load("attack", "apgd")
        found, steps = attack(counted, images, labels, budget, Streams("key", rows, targets), **parameters)
        return found, steps, model(found), counted


def predicted(model, images):
    return model(images).argmax(1).detach()


def counting(num_classes, targets=None, count=1):
    model = linear(num_classes)
    return CountedModel(model, torch.arange(count), Budget("linf", 1), num_classes=num_classes, targets=targets)


def formula(scores, label, target=None):
    """Equations 6 and 7 of the paper for one sample."""
    best = scores.sort(descending=True).values
    if target is None:
        other = torch.cat([scores[:label], scores[label + 1 :]]).max()
        return -(scores[label] - other) / (best[0] - best[2])
    return -(scores[label] - scores[target]) / (best[0] - (best[2] + best[3]) / 2)


def gap_of(model):
    weight = model.body[1].weight.detach()
    return weight[1] - weight[0]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_linf_reaches_the_analytic_margin_of_a_linear_model(loss, variant):
    model, images = linear(2, seed=2), 0.4 + 0.2 * pixels(30)
    scores = model(images).detach()
    due = (scores[:, 0] - scores[:, 1]).abs() - 0.05 * gap_of(model).abs().sum()
    options = {"loss": loss, "variant": variant, "stop": "never", "steps": 10}
    rows = attacked(model, "apgd", Budget("linf", 0.05), images, **options)
    found = torch.tensor([row["adv_margin"] for row in rows], dtype=torch.float64)
    assert torch.allclose(found, due, rtol=1e-5, atol=1e-6)
    assert [row["success"] for row in rows] == (due < 0).tolist()


def test_l2_reaches_the_analytic_margin_of_a_linear_model():
    model, images = linear(2, seed=2), 0.4 + 0.2 * pixels(30)
    scores = model(images).detach()
    due = (scores[:, 0] - scores[:, 1]).abs() - 0.1 * gap_of(model).norm()
    rows = attacked(model, "apgd", Budget("l2", 0.1), images, stop="never", steps=40)
    found = torch.tensor([row["adv_margin"] for row in rows], dtype=torch.float64)
    assert torch.allclose(found, due, rtol=1e-3, atol=1e-3)
    assert all(row["l2"] <= 0.1 + 1e-6 for row in rows)


def test_the_ratios_are_the_papers_and_their_directions_its_gradients():
    scores = torch.randn(50, 6, generator=seeded(1), dtype=torch.float64)
    labels, aims = scores.argmax(1), scores.argmin(1)
    aims[:25] = scores[:25].topk(3).indices[:, 2]
    cases = [
        (dlr(counting(6), scores, labels), None),
        (dlr(counting(6, aims), scores, labels), aims),
        (dlr_towards(scores, labels, aims), aims),
    ]
    for seen, targets in cases:
        for row in range(50):
            leaf = scores[row].clone().requires_grad_()
            value = formula(leaf, labels[row], None if targets is None else targets[row])
            (gradient,) = torch.autograd.grad(value, leaf)
            assert seen.value[row] == pytest.approx(value.item(), rel=1e-9)
            assert torch.cosine_similarity(seen.direction[row], gradient, dim=0) > 1 - 1e-9


@pytest.mark.parametrize("num_classes", [2, 3, 4, 10])
def test_tied_scores_leave_the_ratios_finite_and_pointing_at_the_aim(num_classes):
    scores, labels = torch.full((4, num_classes), 3.0), torch.zeros(4, dtype=torch.int64)
    aims = torch.ones_like(labels)
    for seen in (dlr(counting(num_classes), scores, labels), dlr_towards(scores, labels, aims)):
        assert torch.equal(seen.value, torch.zeros(4, dtype=torch.float64))
        assert bool((seen.direction[:, 0] < 0).all())
        assert bool((seen.direction.amax(1) > 0).all())


def test_too_few_classes_for_a_ratio_leave_the_margin():
    scores, labels = torch.tensor([[5.0, 1.0, 2.0]]), torch.tensor([0])
    assert dlr(counting(2), scores[:, :2], labels).value.item() == -4
    # With three scores the targeted ratio of the last class would be -1 whatever the scores.
    assert dlr_towards(scores, labels, torch.tensor([1])).value.item() == -4


def test_a_ratio_of_a_batch_is_that_of_each_sample_alone():
    scores = torch.randn(40, 7, generator=seeded(1))
    labels = scores.argmax(1)
    whole = dlr(counting(7), scores, labels)
    for row in range(40):
        alone = dlr(counting(7), scores[row : row + 1], labels[row : row + 1])
        assert torch.equal(alone.value, whole.value[row : row + 1])
        assert torch.equal(alone.direction, whole.direction[row : row + 1])


@pytest.mark.parametrize("targeted", [False, True])
def test_log_odds_rise_with_the_loss_and_do_not_saturate(targeted):
    labels = torch.zeros(50, dtype=torch.int64)
    model = counting(3, labels + 2 if targeted else None, count=50)
    scores = torch.zeros(50, 3)
    scores[:, 0], scores[:, 1] = torch.linspace(1e5, 10, 50), 5
    seen = log_odds(model, scores, labels)
    assert bool((seen.value.diff() > 0).all())
    assert bool((seen.direction.abs().amax(1) == 1).all())
    if not targeted:
        small = torch.randn(50, 3, generator=seeded(1), dtype=torch.float64)
        assert torch.allclose(log_odds(model, small, labels).value, model.loss(small, labels).expm1().log())


@pytest.mark.parametrize("loss", LOSSES)
def test_saturated_scores_are_attacked_like_small_ones(loss):
    images, budget = pixels(20, dtype=torch.float32), Budget("linf", 0.02)
    num_classes = 2 if loss == "ce" else 5  # of several classes a larger scale lets the best one count for more
    small, large = (
        attacked(linear(num_classes, scale=scale, dtype=torch.float32), "apgd", budget, images, loss=loss, steps=15)
        for scale in (1.0, 1e4)
    )
    assert 5 <= sum(row["success"] for row in small) < 20
    assert [row["success"] for row in small] == [row["success"] for row in large]


@pytest.mark.parametrize("loss", ["ce", "dlr"])
@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_a_target_is_reached_where_the_ball_holds_it(loss, num_classes):
    model, images = linear(num_classes), 0.3 + 0.4 * pixels(10)
    rows = attacked(model, "apgd", Budget("linf", 0.29), images, targets="all", loss=loss, steps=20)
    assert len(rows) == 10 * num_classes or len(rows) == 10 * (num_classes - 1)
    assert all(row["success"] for row in rows if row["attacked"])
    assert all(row["adv_pred"] == row["target"] for row in rows if row["attacked"])


def test_aiming_at_other_classes_in_turn_fools_where_the_nearest_class_cannot():
    model, budget = linear(3), Budget("linf", 0.1)
    with torch.no_grad():  # class 1 is always just behind class 0
        model.body[1].weight[1] = model.body[1].weight[0]
        model.body[1].bias[1] = model.body[1].bias[0] - 1e-3
    images = pixels(60)
    images = images[predicted(model, images) == 0]
    labels = predicted(model, images)
    one, every = (
        called(model, images, labels, budget, loss="targeted_dlr", target_classes=count, steps=8) for count in (1, 9)
    )
    fooled, fooled_by_all = (found[2].argmax(1) != labels for found in (one, every))
    assert bool(fooled_by_all[fooled].all())
    assert fooled.sum() < len(images) / 4 < fooled_by_all.sum() < len(images)
    assert torch.equal(one[0][fooled], every[0][fooled])
    # One look at the image, then nine for each of two classes.
    assert every[3].forwards[~fooled_by_all].unique().tolist() == [19]
    assert every[1][~fooled_by_all].unique().tolist() == [16]


def test_restarts_are_new_points_spent_on_survivors_only():
    model, images, budget = conv_net(), pixels(30), Budget("linf", 0.07)
    labels = predicted(model, images)
    once, again = (called(model, images, labels, budget, steps=3, restarts=restarts) for restarts in (1, 4))
    fooled, fooled_again = (found[2].argmax(1) != labels for found in (once, again))
    assert 0 < fooled.sum() < 30
    assert torch.equal(again[0][fooled], once[0][fooled])
    assert again[3].forwards[~fooled_again].unique().tolist() == [16]
    assert not torch.equal(again[0][~fooled_again], once[0][~fooled_again])


@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_the_best_point_evaluated_comes_back_and_not_the_last(loss):
    model, images, budget = conv_net(), pixels(12), Budget("linf", 0.05)
    labels, seen = predicted(model, images), []
    handle = model.register_forward_hook(lambda _, inputs, scores: seen.append(scores.detach()))
    _, _, scores, counted = called(model, images, labels, budget, loss=loss, stop="never", steps=8)
    handle.remove()
    # The first look and the last are the test's own.
    ranks = [rank(counted, loss, look, labels) for look in seen[1:-1]]
    assert len(ranks) == 9
    best = torch.stack(ranks).amax(0)
    assert torch.allclose(rank(counted, loss, scores.detach(), labels), best, rtol=1e-9)
    assert bool((ranks[-1] < best).any())


def rank(model, loss, scores, labels):
    """The objective, with points that fool before all others."""
    return {"ce": log_odds, "dlr": dlr}[loss](model, scores, labels).value + 1e3 * model.fooled(scores, labels)


def test_stopping_on_success_costs_less_and_succeeds_as_often():
    model, images, budget = conv_net(), pixels(30), Budget("linf", 0.07)
    labels = predicted(model, images)
    early, late = (called(model, images, labels, budget, steps=20, stop=stop) for stop in ("success", "never"))
    fooled = early[2].argmax(1) != labels
    assert 0 < fooled.sum() < 30
    assert torch.equal(fooled, late[2].argmax(1) != labels)
    assert late[1].unique().tolist() == [20]
    assert bool((early[1][fooled] < 20).all())
    assert torch.equal(early[3].forwards, early[1] + 1)


@pytest.mark.parametrize("options", [{"loss": "dlr"}, {"loss": "targeted_dlr"}, {"targets": "all"}, {"stop": "never"}])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_neighbour_changes_a_row(options, norm):
    images, budget = pixels(9), Budget(norm, {"linf": 0.05, "l2": 0.3}[norm])
    first, *others = (
        [
            {key: value for key, value in row.items() if key != "seconds"}
            for row in attacked(conv_net(), "apgd", budget, images, steps=6, restarts=2, batch_size=size, **options)
        ]
        for size in (64, 4, 1)
    )
    assert all(rows == first for rows in others)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_random_start_lies_at_distance_eps(norm):
    images, budget = pixels(20), Budget(norm, 0.2)
    first, second = (_random_point(images, budget, Streams("key", torch.arange(20)), number) for number in (0, 1))
    order = torch.inf if norm == "linf" else 2
    assert torch.allclose((first - images).flatten(1).norm(order, dim=1), torch.full((20,), 0.2, dtype=torch.float64))
    assert bool((first != second).any(3).any(2).any(1).all())


def test_checkpoints_are_the_papers():
    assert sorted(_checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert _checkpoints(1) == set()
    assert sorted(_checkpoints(20)) == [4, 7, 9, *range(10, 20)]


@pytest.mark.parametrize("published", [True, False])
def test_the_published_halving_waits_for_a_standstill_and_the_corrected_one_takes_turns(published):
    walk = _Walk(pixels(2), torch.zeros(2, dtype=torch.int64), None, 0.4)
    walk.peak, walk.last_peak = torch.tensor([2.0, 1.0]).double(), torch.ones(2).double()
    walk.rises += 10
    walk.check(7.5, published=published)
    assert walk.sizes.tolist() == ([0.4, 0.2] if published else [0.2, 0.2])
    walk.rises += 10
    walk.check(7.5, published=published)
    # The first has not got on since; for the others it is not their turn.
    assert walk.sizes.tolist() == [0.2, 0.2]
    walk.check(7.5, published=published)
    assert walk.sizes.tolist() == [0.1, 0.1]


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_misclassified_already_costs_no_step(loss):
    model, images = conv_net(), pixels(10)
    labels = (predicted(model, images) + 1) % 4
    found, steps, scores, _ = called(model, images, labels, Budget("linf", 1e-4), loss=loss)
    assert steps.tolist() == [0] * 10
    assert bool((scores.argmax(1) != labels).all())
    if loss == "targeted_dlr":
        assert torch.equal(found, images)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_colours_oblong_images_and_a_hundred_classes_work(loss, norm):
    shape = (3, 4, 7)
    images = torch.round(pixels(6, shape, dtype=torch.float32))
    model = linear(100, shape=shape, dtype=torch.float32)
    rows = attacked(model, "apgd", Budget(norm, {"linf": 0.3, "l2": 2.0}[norm]), images, loss=loss, steps=5)
    assert all(row["success"] for row in rows)


def test_it_fools_no_fewer_than_pgd_with_as_many_gradients():
    images = pixels(60)
    pgd, apgd = (
        attacked(conv_net(), name, Budget("linf", 0.07), images, steps=20, **options)
        for name, options in (("pgd", {}), ("apgd", {"loss": "dlr"}))
    )
    assert sum(row["success"] for row in apgd) >= sum(row["success"] for row in pgd) > 0
