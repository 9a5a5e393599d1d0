"""What the judge makes of targets, cascades, transfers, misclassified samples and models that draw numbers."""

import pytest
import torch
from attack_toys import Wavering, attacked, conv_net, linear, pixels

from tasks import registry
from tasks.cases import Attack, Budget
from tasks.config import Component
from tasks.types import AttackError

LINF = Budget("linf", 0.1)


def test_a_targeted_attack_gives_a_row_per_sample_and_target():
    model, images = linear(4), pixels(6)
    labels = model(images).argmax(1)
    rows = attacked(model, "pgd", Budget("linf", 0.3), images, targets="all", steps=10)
    assert [(row["sample"], row["target"]) for row in rows] == [
        (100 + i, target) for i in range(6) for target in range(4) if target != labels[i]
    ]
    assert all(row["attacked"] for row in rows)
    for row in rows:
        assert row["success"] == (row["adv_pred"] == row["target"])
    assert any(row["success"] for row in rows)


def test_a_target_that_is_the_label_is_a_row_that_is_not_attacked():
    model, images = linear(3), pixels(6)
    labels = model(images).argmax(1).tolist()
    rows = attacked(model, "fgsm", LINF, images, targets=(0, 2))
    assert len(rows) == 12
    for row, label in zip(rows, [label for label in labels for _ in range(2)], strict=True):
        assert row["attacked"] == (row["target"] != label)
        assert row["attacked"] or (row["adv_pred"], row["success"]) == (None, False)


def test_a_target_that_is_no_class_is_refused():
    with pytest.raises(AttackError, match="aims at class 7, but there are 3 classes"):
        attacked(linear(3), "fgsm", LINF, pixels(2), targets=(7,))


def test_targeted_fgsm_moves_each_pixel_towards_the_target():
    model, images = linear(2, seed=2), 0.4 + 0.2 * pixels(20)
    labels = model(images).argmax(1)
    (weight, bias) = model.body[1].weight.detach(), model.body[1].bias.detach()
    rows = attacked(model, "fgsm", LINF, images, targets="all")
    for image, label, row in zip(images, labels, rows, strict=True):
        gap = weight[1 - label] - weight[label]
        moved = image.flatten() + 0.1 * gap.sign()
        due = moved @ weight[label] + bias[label] - (moved @ weight[1 - label] + bias[1 - label])
        assert row["adv_margin"] == pytest.approx(float(due), rel=1e-5)
        assert row["success"] == (float(due) < 0)


def test_draws_follow_the_target():
    rows = attacked(linear(3), "attack_toys:noise", LINF, pixels(1), targets="all")
    assert rows[0]["l1"] != rows[1]["l1"]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_targets_of_a_sample_may_be_in_different_batches(batch_size):
    def told(size):
        rows = attacked(conv_net(), "pgd", LINF, pixels(5), targets="all", steps=4, batch_size=size)
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    assert told(batch_size) == told(64)


def test_misclassified_samples_are_attacked_only_where_the_attack_says_all():
    model, images = linear(3), pixels(8)
    labels = (model(images).argmax(1) + torch.arange(8) % 2) % 3
    some = attacked(model, "fgsm", LINF, images, labels)
    everyone = attacked(model, "fgsm", LINF, images, labels, attacked="all")
    assert [row["attacked"] for row in some] == [True, False] * 4
    assert [row["attacked"] for row in everyone] == [True] * 8
    assert all(row["adv_pred"] is not None for row in everyone)
    assert not any(row["success"] for row in everyone[1::2])


def test_an_eps_given_to_a_minimal_attack_says_how_near_is_success():
    model, images = linear(3), pixels(20)
    free = attacked(model, "deepfool", Budget("l2", None), images)
    middle = sorted(row["l2"] for row in free)[10]
    near = attacked(model, "deepfool", Budget("l2", middle * 1.001, beyond="failure"), images)
    assert all(row["success"] for row in free)
    assert [row["success"] for row in near] == [row["l2"] <= middle * 1.001 for row in free]
    assert [row["l2"] for row in near] == [row["l2"] for row in free]


def member(name, budget=LINF, **parameters):
    described = registry.describe("attack", name).parameters
    return Attack(Component("attack", name, 1, {k: p.default for k, p in described.items()} | parameters), budget)


def test_a_cascade_attacks_only_what_withstood_and_says_which_member_succeeded():
    model, images = conv_net(), pixels(40)
    budget = Budget("linf", 0.06)
    first = attacked(model, "fgsm", budget, images)
    both = attacked(model, "fgsm", budget, images, then=(member("pgd", budget, steps=10),))
    alone = attacked(model, "fgsm", budget, images, then=(member("attack_toys:idle", budget),))
    assert 0 < sum(row["success"] for row in first) < sum(row["success"] for row in both)
    for row, before in zip(both, first, strict=True):
        if before["success"]:
            assert (row["member"], row["forwards"], row["l2"]) == (1, before["forwards"], before["l2"])
        else:
            assert row["member"] == (2 if row["success"] else None)
            assert row["forwards"] > before["forwards"]
            assert row["steps"] > before["steps"]
    assert [row["l2"] for row in alone] == [row["l2"] for row in first]
    assert all(row["member"] is None for row in first)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_cascade_does_not_depend_on_the_batch(batch_size):
    def told(size):
        then = (member("pgd", steps=5), member("attack_toys:noise"))
        rows = attacked(conv_net(), "fgsm", LINF, pixels(20), then=then, batch_size=size)
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    assert told(batch_size) == told(64)


def test_a_transfer_attacks_the_source_and_is_judged_on_the_cell():
    model, source, images = linear(2, seed=2), linear(2, seed=3), 0.4 + 0.2 * pixels(20)
    rows = attacked(model, "fgsm", LINF, images, source=source)
    labels = model(images).argmax(1)
    gap = source.body[1].weight.detach()[1] - source.body[1].weight.detach()[0]
    for image, label, row in zip(images, labels, rows, strict=True):
        moved = image + (0.1 * (gap if label == 0 else -gap).sign()).view_as(image)
        scores = model(moved[None])[0].detach()
        assert row["adv_margin"] == pytest.approx(float(scores[label] - scores[1 - label]), rel=1e-5)
        assert (row["forwards"], row["backwards"]) == (1, 1)
    white = attacked(model, "fgsm", LINF, images)
    assert sum(row["success"] for row in rows) < sum(row["success"] for row in white)


def test_a_transfer_leaves_the_source_as_it_was():
    source = linear(3, seed=3)
    with pytest.raises(AttackError, match="changed the model: body"):
        attacked(linear(3), "attack_toys:vandal", LINF, pixels(2), source=source)
    assert torch.equal(source.body[1].weight, linear(3, seed=3).body[1].weight)


def test_a_draw_from_torchs_generator_is_refused_and_undone():
    model = linear()
    state = torch.random.get_rng_state()
    with pytest.raises(AttackError, match="drew from torch's own generator"):
        attacked(model, "attack_toys:gambler", LINF, pixels(3))
    assert torch.equal(torch.random.get_rng_state(), state)


def quiet_labels(images):
    return Wavering(0.0)(images).argmax(1)


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("fixed_batch", [None, 4])
def test_what_a_stochastic_model_draws_does_not_depend_on_the_batch(batch_size, fixed_batch):
    def told(size, fixed):
        images = pixels(20)
        how = {"labels": quiet_labels(images), "batch_size": size, "fixed_batch": fixed, "eot": 3, "draws": 5}
        rows = attacked(Wavering(2.0), "pgd", LINF, images, steps=5, **how)
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    assert told(batch_size, fixed_batch) == told(64, None)


def test_an_attack_on_a_stochastic_model_averages_eot_draws_and_counts_each():
    images = pixels(12)
    one, many = (
        attacked(Wavering(0.5), "fgsm", LINF, images, quiet_labels(images), eot=eot, attacked="all") for eot in (1, 16)
    )
    assert {(row["forwards"], row["backwards"]) for row in one} == {(1, 1)}
    assert {(row["forwards"], row["backwards"]) for row in many} == {(16, 16)}


def test_votes_decide_what_a_stochastic_model_predicts():
    images = pixels(60)
    labels = quiet_labels(images)

    def misclassified(draws):
        rows = attacked(Wavering(3.0), "attack_toys:idle", LINF, images, labels, draws=draws)
        return sum(not row["clean_correct"] for row in rows)

    assert misclassified(1) > 2 * misclassified(101) > 0 or misclassified(101) == 0 < misclassified(1)


def test_a_deterministic_model_is_drawn_once_whatever_the_attack_says():
    rows = attacked(linear(3), "fgsm", LINF, pixels(4), eot=8, draws=8)
    assert {(row["forwards"], row["backwards"]) for row in rows} == {(1, 1)}


def test_a_model_that_draws_votes_twice_on_what_came_back_with_draws_of_their_own():
    images = pixels(60)
    how = {"labels": quiet_labels(images), "draws": 5, "attacked": "all"}
    rows = attacked(Wavering(3.0), "attack_toys:noise", LINF, images, **how)
    for row in rows:
        for share in ("clean_votes", "adv_votes", "second_votes"):
            assert 5 * row[share] == pytest.approx(round(5 * row[share]), abs=1e-5)
        # Of two classes the one with more votes is predicted.
        for pred, share in (("clean_pred", "clean_votes"), ("adv_pred", "adv_votes"), ("second_pred", "second_votes")):
            assert (row[pred] == row["label"]) == (row[share] > 0.5)
        assert row["success"] == (row["clean_correct"] and row["adv_votes"] < 0.5)
        assert row["second_success"] == (row["clean_correct"] and row["second_votes"] < 0.5)
    assert {row["draws"] for row in rows} == {5}
    assert 10 < sum(row["adv_votes"] != row["second_votes"] for row in rows) < 60
    other = attacked(Wavering(3.0), "attack_toys:idle", LINF, images, **how)
    assert [row["clean_votes"] for row in other] == [row["clean_votes"] for row in rows]


def test_nothing_votes_where_a_model_draws_nothing_and_nothing_twice_where_nothing_came_back():
    voted = ("draws", "clean_votes", "adv_votes", "second_pred", "second_votes", "second_success")
    for row in attacked(linear(3), "fgsm", LINF, pixels(4), draws=8):
        assert all(row[name] is None for name in voted)
    images = pixels(4)
    row = attacked(Wavering(0.1), "attack_toys:absent", LINF, images, quiet_labels(images), draws=3)[1]
    assert row["clean_votes"] == 1.0
    assert [row[name] for name in voted[2:]] == [None] * 4
