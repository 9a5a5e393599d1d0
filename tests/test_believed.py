"""Minimal-norm and black-box attacks on a model that draws: a point counts once independent looks agree."""

from copy import deepcopy

import pytest
import torch
from attack_toys import Toy, attacked, linear, pixels
from test_moved_scores import COUNT, FIRST, digits, trained
from torch import nn

from tasks import noise
from tasks.attacks._class_boundary import settled
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import frozen
from tasks.streams import Streams
from tasks.types import AttackError, ModelError

L2, L0 = Budget("l2", None), Budget("l0", None)
ATTACKS = [
    ("deepfool", L2, {}),
    ("superdeepfool", L2, {}),
    ("fab", L2, {"steps": 15}),
    ("cw", L2, {"search_steps": 3, "steps": 40}),
    ("lbfgs", L2, {"search_steps": 4, "steps": 20}),
    ("sparsefool", L0, {}),
    ("boundary", L2, {"steps": 100}),
]


class Noisy(Toy):
    """Each draw adds noise to the image."""

    stochastic = True

    def forward(self, images):
        return super().forward(images + 0.2 * noise.normal(images))


@pytest.fixture(scope="module")
def smoothed():
    return Noisy(deepcopy(trained()), 0.3, 0.4)


@pytest.mark.parametrize(("name", "budget", "options"), ATTACKS, ids=[name for name, _, _ in ATTACKS])
def test_what_a_minimal_attack_finds_on_a_model_that_draws_stands_in_a_vote(smoothed, name, budget, options):
    images, labels = (part[FIRST : FIRST + COUNT // 2] for part in digits())
    rows = [row for row in attacked(smoothed, name, budget, images, labels, draws=60, **options) if row["attacked"]]
    assert len(rows) > 20
    assert sum(row["success"] for row in rows) >= 0.9 * len(rows)
    assert all(row["forwards"] >= 40 for row in rows)  # the looks are counted


def test_a_settled_point_is_put_outwards_until_looks_agree(smoothed):
    images, labels = (part[FIRST : FIRST + 20] for part in digits())
    samples = torch.arange(20)
    with frozen(smoothed):
        model = CountedModel(smoothed, samples, L2, num_classes=10, noise=Streams("", samples), stopping="confirmed")
        near = (images + 0.02).clamp(0, 1)
        found = settled(model, images, labels, near)
        far, close = ((each - images).flatten(1).norm(dim=1) for each in (found, near))
        assert bool((far >= close * (1 - 1e-5)).all())
        trusting = CountedModel(smoothed, samples, L2, num_classes=10, noise=Streams("", samples))
        assert settled(trusting, images, labels, near) is near


def test_an_attack_that_asks_about_nan_is_named_and_not_the_model():
    with pytest.raises(AttackError, match=r"asks_nan asked the model about images that are not finite .*first: 102"):
        attacked(linear(3), "attack_toys:asks_nan", Budget("linf", 0.1), pixels(4))


def test_an_attack_is_not_blamed_for_what_follows_from_a_models_nan():
    model = linear(3)

    class Broken(Toy):
        def forward(self, images):
            scores = super().forward(images)
            return torch.where((images != pixels(4)[: len(images)]).flatten(1).any(1)[:, None], torch.nan, scores)

    broken = Broken(nn.Sequential(*model.body)).double()
    with pytest.raises(ModelError, match="scores are not finite for"):
        attacked(broken, "pgd", Budget("linf", 0.1), pixels(4), steps=3)
