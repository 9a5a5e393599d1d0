"""The Boundary Attack: distances on linear models, decisions only, its start, its windows and its convergence."""

import pytest
import torch
from attack_toys import Toy, attacked, conv_net, linear, pixels, seeded
from test_deepfool import nearest
from torch import nn

from tasks.attacks.boundary import _exponent, _Window
from tasks.config import Budget

MINIMAL = Budget("l2", None)
SMALL = (1, 3, 3)


@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_a_linear_model_is_fooled_close_to_its_analytic_distance(variant):
    images = 0.4 + 0.2 * pixels(10, SMALL)
    model = linear(2, shape=SMALL)
    rows = attacked(model, "boundary", MINIMAL, images, steps=1200, variant=variant)
    factors = [row["l2"] / due for row, due in zip(rows, nearest(model, images).tolist(), strict=True)]
    assert all(row["success"] for row in rows)
    assert min(factors) >= 1
    assert sum(factors) / len(factors) < (1.03 if variant == "corrected" else 1.25)


def test_a_sample_leaves_when_its_source_step_has_converged():
    images = 0.4 + 0.2 * pixels(6, SMALL)
    rows = attacked(linear(3, shape=SMALL), "boundary", MINIMAL, images, steps=4000, convergence=1e-3)
    steps = [row["steps"] for row in rows]
    assert max(steps) < 4000
    assert len(set(steps)) > 1
    for row in rows:
        assert row["steps"] * 1.2 <= row["forwards"] <= row["steps"] * 1.2 + 60


class Ordinal(Toy):
    """The scores of another model, replaced by their ranks: the same decisions, no other information."""

    def forward(self, images):
        return super().forward(images).argsort(1).argsort(1).to(images.dtype)


def test_only_decisions_count():
    net = conv_net()
    ranked = Ordinal(net.body, 0.3, 0.4).double()
    columns = ("l2", "steps", "forwards", "adv_pred", "success")
    rows, other = (attacked(model, "boundary", MINIMAL, pixels(8), steps=100) for model in (net, ranked))
    assert [[row[name] for name in columns] for row in rows] == [[row[name] for name in columns] for row in other]
    assert all(row["backwards"] == 0 for row in rows)


class Wary(Toy):
    """Class 1 only for images whose neighbouring pixels are all alike, which fine noise never is."""

    def forward(self, images):
        rough = (images[..., 1:] - images[..., :-1]).abs().amax((1, 2, 3))
        return torch.stack([rough, torch.full_like(rough, 1e-6)], dim=1)


def test_a_model_that_fine_noise_cannot_fool_is_started_by_coarse_noise():
    model = Wary(nn.Identity()).double()
    rows = attacked(model, "boundary", MINIMAL, pixels(5), steps=20)
    assert all(row["success"] for row in rows)


def test_without_a_start_nothing_comes_back_for_that_sample():
    model = Wary(nn.Identity()).double()
    rows = attacked(model, "boundary", MINIMAL, pixels(5), steps=20, variant="published", init_tries=3)
    for row in rows:
        assert (row["attacked"], row["success"], row["l2"], row["adv_pred"]) == (True, False, None, None)
        assert (row["steps"], row["forwards"]) == (0, 3)


def test_more_steps_never_end_further_away():
    few, many = (attacked(conv_net(), "boundary", MINIMAL, pixels(8), steps=steps) for steps in (50, 800))
    assert sum(row["l2"] for row in many) < 0.8 * sum(row["l2"] for row in few)


def test_the_walk_is_kept_in_the_box_of_standardised_units():
    rows = attacked(conv_net(torch.float32), "boundary", Budget("l2", None, "standardised"),
                    torch.round(pixels(6, dtype=torch.float32)), steps=60)  # fmt: skip
    assert all(row["success"] for row in rows)


def test_without_a_box_noise_takes_each_images_own_range():
    rows = attacked(linear(3), "boundary", Budget("l2", None, box=False), pixels(6), steps=100)
    assert all(row["success"] for row in rows)


def test_a_full_window_says_grow_or_shrink_and_is_emptied():
    window = _Window(4, 0.2, 0.5)
    hits, checks = torch.zeros(3, 4, dtype=torch.bool), torch.zeros(3, dtype=torch.int64)
    series = torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 0]], dtype=torch.bool)
    given = [_exponent(hits, checks, series[:, step], window).tolist() for step in range(4)]
    assert given == [[0, 0, 0]] * 3 + [[1, -1, 0]]
    assert checks.tolist() == [0, 0, 4]
    assert _exponent(hits, checks, torch.tensor([True, True, True]), window).tolist() == [0, 0, 0]
    assert _exponent(hits, checks, torch.tensor([True, True, True]), window).tolist() == [0, 0, 1]


def test_final_points_fool_by_more_than_rounding():
    model = linear(3, shape=SMALL, dtype=torch.float32)
    images = (0.4 + 0.2 * torch.rand(20, *SMALL, generator=seeded(1))).float()
    rows = attacked(model, "boundary", MINIMAL, images, steps=1500)
    assert all(row["success"] and row["adv_margin"] < -1e-6 for row in rows)
