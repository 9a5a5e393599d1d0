"""Universal perturbations: linear models with known answers, the published order, and what the facts count."""

import pytest
import torch
from attack_toys import attacked, case, conv_net, linear, pixels

from tasks import registry
from tasks.cases import Budget
from tasks.prepare import prepare_attack
from tasks.streams import Streams

METHODS = ["gradient", "deepfool"]
BALLS = [("linf", 0.1), ("l2", 0.4)]


def fitted(model, images, norm="linf", eps=0.1, labels=None, samples=None, space="pixel", box=False, **parameters):
    labels = predicted(model, images) if labels is None else labels
    samples = torch.arange(len(images)) if samples is None else samples
    one = case("universal", Budget(norm, eps, space, box=box), **parameters)
    num_classes = model(pixels(1).to(model.mean.dtype)).shape[1]
    return prepare_attack(model, one, images, labels, samples, num_classes=num_classes)


def predicted(model, images):
    with torch.no_grad():
        return model(images).argmax(1)


def one_sided(model, count):
    """Images that a two-class model puts in class 0."""
    images = 0.4 + 0.2 * pixels(3 * count)
    return images[predicted(model, images) == 0][:count]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_linear_model_is_fooled_wherever_the_ball_reaches_its_boundary(method, norm):
    model = linear(2, seed=2)
    images = one_sided(model, 40)
    gap = model.body[1].weight.detach()[0] - model.body[1].weight.detach()[1]
    with torch.no_grad():
        scores = model(images)
    reach = (scores[:, 0] - scores[:, 1]) / (gap.abs().sum() if norm == "linf" else gap.norm())
    eps = float(reach.median()) * 1.01
    made = fitted(model, images, norm, eps, method=method, passes=20)
    if norm == "linf" and method == "deepfool":  # its steps are those of the l2 norm, so the corner is not reached
        assert 0.3 < made.facts["fooling_rate"] <= float((reach < eps).double().mean())
    else:
        assert made.facts["fooling_rate"] == float((reach < eps).double().mean())
    assert made.facts["norm"] <= eps * (1 + 1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("norm", "eps"), BALLS)
@pytest.mark.parametrize("space", ["pixel", "standardised"])
def test_every_image_gets_the_same_perturbation_within_the_ball(method, norm, eps, space):
    model, budget = conv_net(), Budget(norm, eps, space, box=False)
    state = fitted(model, pixels(40), norm, eps, space=space, method=method, passes=2).state
    rows = attacked(model, "universal", budget, pixels(10, seed=8), state=state, method=method, passes=2)
    assert len({round(row[norm], 6) for row in rows}) == 1
    assert 0 < rows[0][norm] <= eps + 1e-6
    assert all((row["steps"], row["forwards"], row["backwards"]) == (1, 0, 0) for row in rows)


def test_in_the_box_pixels_are_clipped_one_by_one():
    model, images = conv_net(), torch.round(pixels(10))
    state = fitted(model, images, eps=0.3, box=True).state
    rows = attacked(model, "universal", Budget("linf", 0.3), images, state=state)
    for row, image in zip(rows, images, strict=True):
        moved = (image + state["perturbation"]).clamp(0, 1) - image
        assert row["l2"] == pytest.approx(float(moved.norm()), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_fooling_rates_are_shares_of_changed_predictions(method):
    model, images = conv_net(), pixels(60)
    labels = (predicted(model, images) + (torch.arange(60) % 3 == 0)) % 4
    made = fitted(model, images, eps=0.15, labels=labels, method=method)
    changed = predicted(model, images + made.state["perturbation"]) != predicted(model, images)
    correct = predicted(model, images) == labels
    assert made.facts["fooling_rate"] == float(changed.double().mean())
    assert made.facts["fooling_rate_correct"] == float(changed[correct].double().mean())
    assert 0.1 < made.facts["fooling_rate"] < 1
    assert made.facts["forwards"] > 60


def one_by_one(model, images, labels, eps, order):
    """A pass of algorithm 1 in l2, each image looked at when its turn comes, all classes in every DeepFool step."""
    total = torch.zeros_like(images[:1])
    clean = predicted(model, images)
    for row in order.tolist():
        label, travel = int(labels[row]), torch.zeros_like(total)
        if int(clean[row]) != label:
            continue
        for step in range(11):
            point = (images[row] + total + 1.02 * travel).requires_grad_()
            scores = model(point)[0]
            if int(scores.argmax()) != label or step == 10:
                break
            gaps = [(scores[k] - scores[label], k) for k in range(len(scores)) if k != label]
            found = [(gap.detach(), torch.autograd.grad(gap, point, retain_graph=True)[0]) for gap, _ in gaps]
            gap, gradient = min(found, key=lambda pair: float(pair[0].abs() / pair[1].norm()))
            travel = travel + (gap.abs() / gradient.norm() + 1e-4) * gradient / gradient.norm()
        if int(scores.argmax()) != label:
            total = total + 1.02 * travel
            total = total * min(1.0, eps / float(total.norm()))
    return total.detach()


def test_the_published_order_is_kept_although_many_images_are_looked_at_at_once():
    model, images = conv_net(), pixels(60)
    labels = (predicted(model, images) + (torch.arange(60) % 5 == 0)) % 4
    chosen = {"method": "deepfool", "passes": 1, "candidates": None}
    made = fitted(model, images, "l2", 0.6, labels=labels, **chosen)
    one = case("universal", Budget("l2", 0.6, box=False), **chosen)
    order = Streams(one.prepared_id, torch.arange(60)).uniform("order", 0, (), torch.float64).argsort()
    assert torch.allclose(made.state["perturbation"], one_by_one(model, images, labels, 0.6, order), atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_the_place_of_an_image_in_the_fitting_set_changes_nothing(method):
    model, images, samples = conv_net(), pixels(40), torch.arange(40) + 7
    back = torch.arange(40).flip(0)
    made = fitted(model, images, samples=samples, method=method, passes=3, batch=8)
    again = fitted(model, images[back], samples=samples[back], method=method, passes=3, batch=8)
    assert torch.allclose(made.state["perturbation"], again.state["perturbation"], atol=1e-9)
    assert made.facts == again.facts


def test_the_best_perturbation_is_kept_and_not_the_last():
    made = fitted(conv_net(), pixels(50), "l2", 0.3, method="deepfool", passes=8)
    assert made.facts["best_pass"] < made.facts["passes"] == 8
    images = pixels(50)
    changed = predicted(conv_net(), images + made.state["perturbation"]) != predicted(conv_net(), images)
    assert made.facts["fooling_rate"] == float(changed.double().mean()) > 0


@pytest.mark.parametrize("method", METHODS)
def test_it_stops_when_enough_are_fooled(method):
    early, late = (fitted(conv_net(), pixels(50), eps=0.2, method=method, delta=delta) for delta in (0.8, 0.0))
    assert early.facts["fooling_rate"] >= 0.2
    assert early.facts["passes"] < late.facts["passes"] == 10
    assert early.facts["forwards"] < late.facts["forwards"]


def test_a_saturated_model_is_fooled_as_often():
    images = pixels(60, dtype=torch.float32)
    small, large = (fitted(linear(3, scale=scale, dtype=torch.float32), images, eps=0.15) for scale in (1.0, 1e4))
    assert small.facts["fooling_rate"] > 0.2
    assert large.facts["fooling_rate"] > small.facts["fooling_rate"] - 0.1


def test_looking_at_the_nearest_boundaries_only_costs_less_and_fools_about_as_many():
    model, images = linear(10), pixels(60)
    few, every = (fitted(model, images, "l2", 0.5, method="deepfool", candidates=count) for count in (2, None))
    assert few.facts["backwards"] < 0.5 * every.facts["backwards"]
    assert few.facts["fooling_rate"] > every.facts["fooling_rate"] - 0.1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [0, 1])
def test_no_image_and_one_image_can_be_fitted_to(method, count):
    made = fitted(conv_net(), pixels(count), method=method)
    assert made.state["perturbation"].shape == (1, 1, 6, 6)
    assert bool(made.state["perturbation"].isfinite().all())


def test_by_default_it_is_fitted_to_images_that_are_not_attacked():
    assert registry.describe("attack", "universal").parameters["fit_split"].default == "train"
