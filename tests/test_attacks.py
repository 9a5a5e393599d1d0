"""What the attacks have in common beside their contract, and the eps-ball attacks against closed-form answers."""

import pytest
import torch
from attack_toys import attacked, case, conv_net, linear, pixels, seeded
from test_contracts import CHEAP, PEERS

from tasks import registry
from tasks.cases import Budget
from tasks.contracts import attacking
from tasks.contracts.subject import Subject
from tasks.counted import CountedModel
from tasks.judge import attack_samples
from tasks.metrics import frozen
from tasks.streams import Streams

ALL = [name for name in registry.names("attack") if name not in PEERS]
BALL = ["fgsm", "bim", "pgd"]


def rows_of(name, images, model=None, budget=None, **options):
    model = conv_net() if model is None else model
    described = registry.describe("attack", name).parameters
    fast = {key: value for key, value in CHEAP.items() if key in described}
    rows = attacked(model, name, budget or Budget("linf", 0.05), images, **(fast | options))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize("name", ALL)
def test_every_image_moves_that_is_at_both_ends_of_the_box(name):
    """Stronger than the promise of every attack, that some of them can."""
    model = linear(2, dtype=torch.float32, seed=2)
    images = torch.randint(0, 2, (8, 1, 6, 6), generator=seeded(4)).float()
    rows = attacking.rows_of(Subject("attack", name).having(**CHEAP), images, model)
    moved = [row["l2"] > 0 for row in rows if row["l2"] is not None]
    if name == "few_pixel":  # the pixel that it ranks first may already have the better of its two values
        assert any(moved)
    elif name != "zero_gradient_pgd":  # a linear model has no zero gradient, so nothing comes back
        assert all(moved)
        assert moved


@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd", "deepfool"])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_saturated_scores_are_attacked_like_small_ones(name, scale):
    small, large = (
        rows_of(name, pixels(10, dtype=torch.float32), linear(2, scale=s, dtype=torch.float32), Budget(*end))
        for s, end in ((1.0, end_of(name)), (scale, end_of(name)))
    )
    assert [row["success"] for row in small] == [row["success"] for row in large]
    assert sum(row["success"] for row in small) >= 5
    for row, other in zip(small, large, strict=True):
        assert row["l2"] == pytest.approx(other["l2"], rel=0.02)


def end_of(name):
    return ("l2", None) if name == "deepfool" else ("linf", 0.12)


def affine(images, model):
    """Margin of each image's class, and the l1 and l2 norms of its gradient, of a two-class linear model."""
    scores = model(images).detach()
    labels = scores.argmax(1)
    gap = model.body[1].weight.detach()
    gap = gap[0] - gap[1]
    return (scores[:, 0] - scores[:, 1]).abs(), gap.abs().sum(), gap.norm(), labels


@pytest.mark.parametrize("name", BALL)
@pytest.mark.parametrize("eps", [0.01, 0.03, 0.1])
def test_linf_attacks_reach_the_analytic_margin_of_a_linear_model(name, eps):
    model, images = linear(2, seed=2), 0.4 + 0.2 * pixels(40)
    margin, l1, _, _ = affine(images, model)
    options = {"stop": "never"} if name != "fgsm" else {}
    rows = rows_of(name, images, model, Budget("linf", eps), **options, **({"alpha": eps} if name == "pgd" else {}))
    found = torch.tensor([row["adv_margin"] for row in rows], dtype=torch.float64)
    assert torch.allclose(found, margin - eps * l1, rtol=1e-5, atol=1e-6)
    assert [row["success"] for row in rows] == (eps > margin / l1).tolist()


def test_pgd_in_l2_reaches_the_analytic_margin_of_a_linear_model():
    model, images = linear(2, seed=2), 0.4 + 0.2 * pixels(40)
    margin, _, l2, _ = affine(images, model)
    rows = rows_of("pgd", images, model, Budget("l2", 0.1), stop="never", steps=100, alpha=0.02)
    found = torch.tensor([row["adv_margin"] for row in rows], dtype=torch.float64)
    assert torch.allclose(found, margin - 0.1 * l2, rtol=1e-3, atol=1e-3)
    assert all(row["l2"] <= 0.1 + 1e-6 for row in rows)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_starts_fill_the_ball_and_stay_in_it(norm):
    rows = rows_of("pgd", 0.4 + 0.2 * pixels(40), linear(2), Budget(norm, 0.1), steps=1, alpha=1e-9, stop="never")
    distances = [row[norm] for row in rows]
    assert max(distances) <= 0.1 + 1e-6
    assert min(distances) > 0.07


@pytest.mark.parametrize("name", ["bim", "pgd"])
def test_stopping_on_success_costs_less_and_succeeds_as_often(name):
    images, budget = pixels(30), Budget("linf", 0.15)
    start = {"random_start": False} if name == "pgd" else {}  # draws follow the case, of which `stop` is a part
    early, late = (rows_of(name, images, budget=budget, steps=20, stop=stop, **start) for stop in ("success", "never"))
    assert {row["sample"] for row in early if row["success"]} == {row["sample"] for row in late if row["success"]}
    assert 0 < sum(row["success"] for row in early) < 30
    for row, other in zip(early, late, strict=True):
        assert other["steps"] == 20
        assert row["forwards"] == row["steps"] + 1
        assert row["steps"] < 20 if row["success"] else row["steps"] == 20


def test_the_best_point_comes_back_and_not_the_last():
    model, images = conv_net(), pixels(20)
    few, many = (
        rows_of("pgd", images, model, Budget("linf", 0.05), steps=steps, stop="never", alpha=0.2, random_start=False)
        for steps in (3, 30)
    )
    assert all(row["adv_margin"] >= other["adv_margin"] for row, other in zip(few, many, strict=True))


def called(name, model, images, budget, **parameters):
    """The attack itself, without the judge: images, steps, and the model that counted."""
    labels = model(images).argmax(1).detach()
    with frozen(model):
        counted = CountedModel(model, torch.arange(len(images)), budget, num_classes=4)
        streams = Streams("one key", torch.arange(len(images)))
        found, steps = registry.load("attack", name)(counted, images, labels, budget, streams, **parameters)
    return found, steps, counted.forwards, model(found).argmax(1) != labels


def test_restarts_are_spent_on_survivors_only():
    model, images, budget = conv_net(), pixels(30), Budget("linf", 0.07)
    found, _, _, fooled = called("pgd", model, images, budget, steps=6)
    again, steps, forwards, fooled_again = called("pgd", model, images, budget, steps=6, restarts=3)
    assert 0 < int(fooled.sum()) < 30
    assert torch.equal(again[fooled], found[fooled])
    assert bool(fooled_again[fooled].all())
    assert int(forwards[fooled].max()) <= 7
    assert forwards[~fooled_again].unique().tolist() == [21]
    assert steps[~fooled_again].unique().tolist() == [18]


def published(values, eps, steps, signs):
    """The thesis's rule for one pixel in standardised units, in plain Python."""
    start = point = values
    for sign in signs:
        stepped = point + eps / steps * sign
        point = min(max(stepped, start - eps, 0.0), stepped + eps)
        point = min(max(point, -0.75), 1.75)
    return point


def test_the_published_bim_drifts_as_the_thesis_did():
    model = linear(2, seed=2, mean=0.3, std=0.4)
    images = pixels(10)
    budget = Budget("linf", 0.1, "standardised", beyond="allowed")
    labels, inputs = model(images).argmax(1), (images - 0.3) / 0.4
    with frozen(model):
        counted = CountedModel(model, torch.arange(10), budget, num_classes=2)
        streams = Streams("", torch.arange(10))
        found, steps = registry.load("attack", "bim")(counted, inputs, labels, budget, streams, variant="published")
    toward = model.body[1].weight.detach()[1] - model.body[1].weight.detach()[0]
    signs = torch.where(labels[:, None] == 0, toward, -toward).sign()
    due = [
        [published(float(v), 0.1, 10, [float(s)] * 10) for v, s in zip(image, sign, strict=True)]
        for image, sign in zip(inputs.flatten(1), signs, strict=True)
    ]
    assert torch.allclose(found.flatten(1), torch.tensor(due, dtype=torch.float64))
    assert (found - inputs).abs().max() > 0.5
    assert steps.tolist() == [10] * 10


def test_the_corrected_bim_keeps_its_ball():
    rows = rows_of("bim", pixels(20), budget=Budget("linf", 0.1, "standardised"), stop="never")
    assert all(row["linf"] <= 0.1 + 1e-6 for row in rows)


def test_without_a_box_fgsm_moves_every_pixel_by_eps():
    images = torch.randint(0, 2, (5, 1, 6, 6), generator=seeded(4)).double()
    rows = rows_of("fgsm", images, linear(), Budget("linf", 0.2, box=False))
    assert all(row["l1"] == pytest.approx(36 * 0.2) for row in rows)
    assert all(row["l0"] == 36 for row in rows)


def test_a_table_can_be_made_of_a_shard_on_another_precision():
    model, images = conv_net(torch.float32), pixels(5)
    table = attack_samples(
        model,
        case("fgsm", Budget("linf", 0.1)),
        images,
        torch.zeros(5, dtype=torch.int64),
        torch.arange(5),
        batch_size=2,
    )
    assert table.num_rows == 5
