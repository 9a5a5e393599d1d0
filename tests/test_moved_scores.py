"""Scores that are shifted or scaled: what an attack finds follows the predictions, not where the scores lie."""

from copy import deepcopy
from functools import cache
from statistics import mean

import pytest
import torch
from attack_toys import Toy, attacked, case, seeded
from sklearn.datasets import load_digits
from torch import nn

from tasks import registry
from tasks.cases import Budget
from tasks.prepare import prepare_attack

LINF, L2, L2_BALL, L0 = Budget("linf", 0.1), Budget("l2", None), Budget("l2", 0.5), Budget("l0", None)
CLIMBERS = {
    "fgsm": ("fgsm", LINF, {}),
    "bim": ("bim", LINF, {}),
    "pgd": ("pgd", LINF, {"steps": 20}),
    "pgd l2": ("pgd", L2_BALL, {"steps": 20}),
    "apgd": ("apgd", LINF, {"steps": 20}),
    "square of the loss": ("square", LINF, {"queries": 200, "loss": "cross_entropy"}),
    "fast gradient value": ("fast_gradient_value", L2_BALL, {}),
    "few pixels": ("few_pixel", L0, {"pixels": 3}),
    "one pixel": ("one_pixel", L0, {"population": 40, "generations": 15, "pixels": 2}),
    "universal": ("universal", LINF, {"passes": 3}),
}
"""Attacks that follow the loss or its gradient: how sure a model is changes which way the loss grows fastest."""
BY_MARGIN = {
    "apgd of ratios": ("apgd", LINF, {"steps": 20, "loss": "dlr"}),
    "apgd of targeted ratios": ("apgd", L2_BALL, {"steps": 10, "loss": "targeted_dlr", "target_classes": 3}),
    "square": ("square", LINF, {"queries": 200}),
    "square l2": ("square", L2_BALL, {"queries": 200}),
    "deepfool": ("deepfool", L2, {}),
    "deepfool linf": ("deepfool", Budget("linf", None), {}),
    "deepfool as published": ("deepfool", L2, {"variant": "published"}),
    "superdeepfool": ("superdeepfool", L2, {}),
    "fab": ("fab", Budget("linf", None), {"steps": 15}),
    "fab l2": ("fab", L2, {"steps": 15}),
    "cw": ("cw", L2, {"search_steps": 4, "steps": 60}),
    "cw of tanh": ("cw", L2, {"search_steps": 4, "steps": 60, "variable": "tanh"}),
    "lbfgs": ("lbfgs", L2, {"search_steps": 6}),
    "sparsefool": ("sparsefool", L0, {}),
    "boundary": ("boundary", L2, {"steps": 200}),
    "blended noise": ("blended_noise", L2, {}),
    "random noise": ("random_noise", LINF, {"tries": 10}),
    "universal by deepfool": ("universal", LINF, {"passes": 1, "method": "deepfool_linf"}),
}
ALL = CLIMBERS | BY_MARGIN
FITTED, FIRST, COUNT = 60, 1200, 60


class Moved(nn.Module):
    def __init__(self, body: nn.Module, shift: float, scale: float) -> None:
        super().__init__()
        self.body, self.shift, self.scale = body, shift, scale

    def forward(self, net):
        return self.body(net) * self.scale + self.shift


@cache
def digits():
    data = load_digits()
    return torch.tensor(data.images / 16, dtype=torch.float32).unsqueeze(1), torch.tensor(data.target)


@cache
def trained() -> nn.Module:
    images, labels = digits()
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(0)) / 8)
    optimizer = torch.optim.Adam(layers.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(layers((images[:FIRST] - 0.3) / 0.4), labels[:FIRST]).backward()
        optimizer.step()
    for parameter in layers.parameters():
        parameter.grad = None
    return layers


@cache
def found(key: str, shift: float = 0.0, scale: float = 1.0, dtype: torch.dtype = torch.float32):
    """The rows of the attacked samples under that attack."""
    name, budget, options = ALL[key]
    images, labels = digits()
    model, images = Toy(Moved(deepcopy(trained()), shift, scale), 0.3, 0.4).to(dtype), images.to(dtype)
    state = None
    if registry.describe("attack", name).facts.prepared:
        fit = images[:FITTED], labels[:FITTED], torch.arange(FITTED)
        state = prepare_attack(model, case(name, budget, **options), *fit, num_classes=10).state
    chosen = slice(FIRST, FIRST + COUNT)
    return [row for row in attacked(model, name, budget, images[chosen], labels[chosen], state=state, **options)
            if row["attacked"]]  # fmt: skip


def compare(key: str, rows, others, *, points: float, share: float) -> None:
    """Rates within so many points, and of what both fooled the mean distance within that share."""
    norm = ALL[key][1].norm
    assert len(rows) == len(others)
    rate, other = (100 * mean(row["success"] for row in each) for each in (rows, others))
    assert other == pytest.approx(rate, abs=points)
    both = [(row[norm], than[norm]) for row, than in zip(rows, others, strict=True) if row["success"] & than["success"]]
    if ALL[key][1].eps is None:
        assert mean(than for _, than in both) == pytest.approx(mean(row for row, _ in both), rel=share)


@pytest.mark.parametrize("key", ALL)
def test_a_shift_of_all_scores_changes_nothing_that_an_attack_finds(key):
    compare(key, found(key), found(key, 1e3), points=1.8, share=0.01)


@pytest.mark.drill
@pytest.mark.parametrize("key", ALL)
def test_a_large_shift_in_float64_changes_nothing_at_all(key):
    rows, others = (found(key, shift, 1.0, torch.float64) for shift in (0.0, 1e5))
    assert [row["success"] for row in rows] == [row["success"] for row in others]
    compare(key, rows, others, points=0, share=1e-6)


@pytest.mark.parametrize("scale", [1e-2, pytest.param(1e2, marks=pytest.mark.drill)])
@pytest.mark.parametrize("key", BY_MARGIN)
def test_a_scale_of_all_scores_changes_nothing_that_an_attack_on_the_margin_finds(key, scale):
    compare(key, found(key), found(key, 0.0, scale), points=1.8, share=0.01)


@pytest.mark.drill
@pytest.mark.parametrize("scale", [1e-2, 1e2])
@pytest.mark.parametrize("key", CLIMBERS)
def test_what_a_scale_changes_for_an_attack_on_the_loss_is_not_rounding(key, scale):
    compare(key, found(key, 0.0, scale, torch.float64), found(key, 0.0, scale), points=1.8, share=0.01)


def test_square_keeps_its_rate_where_scores_share_a_hundred_thousand():
    compare("square", found("square"), found("square", 1e5), points=3, share=0.01)
