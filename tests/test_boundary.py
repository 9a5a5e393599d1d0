"""The Boundary Attack: distances on linear models, decisions only, its start, its windows and its convergence."""

import pytest
import torch
from attack_toys import Toy, attacked, conv_net, linear, pixels, seeded
from test_deepfool import nearest
from torch import nn

from tasks.attacks._boundary_noise import directions, smoother
from tasks.attacks.boundary import _RULES, _begin, _exponent, _propose, _Window
from tasks.cases import Budget
from tasks.streams import Streams

MINIMAL = Budget("l2", None)
SMALL = (1, 3, 3)


def test_half_the_resolution_ends_closer_where_the_model_sees_smooth_patterns_only():
    net = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), linear(3, shape=(1, 4, 4)).body[1])
    images = 0.4 + 0.2 * pixels(12, (1, 16, 16))
    options = {"steps": 400, "spherical_step": 0.1, "source_step": 0.1}
    smooth, fine = (
        attacked(Toy(net).double(), "boundary", MINIMAL, images, **options, variant=variant)
        for variant in ("corrected", "published")
    )
    assert sum(row["l2"] for row in smooth) < 0.8 * sum(row["l2"] for row in fine)


def test_smoothed_noise_is_what_bilinear_interpolation_gives():
    images = pixels(3, (2, 7, 10))
    streams = Streams("key", torch.arange(3))
    for grain in (1, 2, 3):
        for step, noise in directions(streams, range(4, 6), images, smoother(images, grain)):
            drawn = streams.normal("direction", step, (2, -(-7 // grain), -(-10 // grain)), images.dtype)
            assert torch.allclose(noise, nn.functional.interpolate(drawn, size=(7, 10), mode="bilinear"))


def test_a_proposal_lies_on_the_sphere_and_then_a_source_step_closer():
    images, ends = pixels(8), pixels(8, seed=9)
    walk = _begin(ends, images, torch.zeros(8, dtype=torch.int64), _RULES["corrected"], 0.2, 0.1)
    noise = Streams("key", torch.arange(8)).normal("direction", 0, (1, 6, 6), images.dtype)
    free = torch.full((1, 1, 6, 6), torch.inf, dtype=images.dtype)
    around, proposed, distance = _propose(walk, noise.clone(), (-free, free))
    before = (ends - images).flatten(1)
    across = (around - images).flatten(1)
    assert torch.allclose(across.norm(dim=1), before.norm(dim=1))
    cosine = (across * before).sum(1) / before.norm(dim=1) ** 2
    assert torch.allclose(cosine, torch.full_like(cosine, (1 + 0.2**2) ** -0.5))
    tangent = noise.flatten(1) - before * ((noise.flatten(1) * before).sum(1) / before.norm(dim=1) ** 2)[:, None]
    moved = across - before * cosine[:, None]
    assert torch.allclose(moved / moved.norm(dim=1)[:, None], tangent / tangent.norm(dim=1)[:, None])
    assert torch.allclose(distance, 0.9 * before.norm(dim=1))
    assert torch.allclose((proposed - images).flatten(1).norm(dim=1), distance)


def test_an_image_that_fools_as_it_is_comes_back_after_one_look():
    model, images = conv_net(), pixels(6)
    labels = (model(images).argmax(1) + torch.tensor([0, 1, 0, 2, 1, 0])) % 4
    rows = attacked(model, "boundary", MINIMAL, images, labels, steps=30, attacked="all")
    for row in rows:
        if row["clean_correct"]:
            assert row["forwards"] > 30
        else:
            assert row["adv_pred"] != row["label"]
            assert (row["l2"], row["steps"], row["forwards"]) == (0.0, 0, 1)


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
        assert (row["steps"], row["forwards"]) == (0, 1 + 3)


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
