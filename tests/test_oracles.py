"""Oracles: on the same samples and models, ours are never weaker than other libraries' attacks.

An attack joins the comparison when its file is there.
"""

import importlib.util
import math

import pytest
import torch
from attack_toys import Toy, attacked, case, seeded
from sklearn.datasets import load_digits
from torch import nn

from tasks import registry
from tasks.cases import Budget
from tasks.prepare import prepare_attack

pytestmark = pytest.mark.filterwarnings("ignore")
LINF, L2, L0 = Budget("linf", 0.1), Budget("l2", None), Budget("l0", None)


@pytest.fixture(scope="module")
def digits():
    """A perceptron that knows the digits, and 60 images of them."""
    data = load_digits()
    images = torch.tensor(data.images / 16, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(data.target)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(0)) / 8)
    optimizer = torch.optim.Adam(layers.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(layers(images), labels).backward()
        optimizer.step()
    for parameter in layers.parameters():
        parameter.grad = None
    return Toy(layers, 0.3, 0.4), images[:60], labels[:60]


BALL = [
    ("fgsm", {}, "foolbox", {"attack": "FGSM"}),
    ("fgsm", {}, "torchattacks", {"attack": "FGSM"}),
    ("fgsm", {}, "art", {"attack": "FastGradientMethod"}),
    ("bim", {"steps": 10}, "foolbox", {"attack": "LinfBasicIterativeAttack", "steps": 10, "abs_stepsize": 0.01}),
    ("bim", {"steps": 10}, "torchattacks", {"attack": "BIM", "steps": 10, "alpha": 0.01}),
    ("bim", {"steps": 10}, "art", {"attack": "BasicIterativeMethod", "max_iter": 10, "eps_step": 0.01}),
    ("pgd", {"steps": 30}, "foolbox", {"attack": "LinfPGD", "steps": 30}),
    ("pgd", {"steps": 30}, "torchattacks", {"attack": "PGD", "steps": 30, "alpha": 0.01}),
    ("pgd", {"steps": 30}, "art", {"attack": "ProjectedGradientDescent", "max_iter": 30, "eps_step": 0.01}),
    ("apgd", {"steps": 20}, "torchattacks", {"attack": "APGD", "steps": 20}),
    ("apgd", {"steps": 20}, "art", {"attack": "AutoProjectedGradientDescent", "max_iter": 20, "eps_step": 0.2,
                                    "nb_random_init": 1}),
    ("square", {"queries": 200}, "torchattacks", {"attack": "Square", "n_queries": 200}),
    ("square", {"queries": 200}, "art", {"attack": "SquareAttack", "max_iter": 200}),
]  # fmt: skip
NEAREST = [
    ("deepfool", L2, {}, "foolbox", {"attack": "L2DeepFoolAttack"}),
    pytest.param("deepfool", L2, {}, "torchattacks", {"attack": "DeepFool"}, marks=pytest.mark.drill),
    ("deepfool", L2, {}, "art", {"attack": "DeepFool", "epsilon": 0.02}),
    ("deepfool", Budget("linf", None), {}, "foolbox", {"attack": "LinfDeepFoolAttack"}),
    ("superdeepfool", L2, {}, "foolbox", {"attack": "L2DeepFoolAttack"}),
    ("cw", L2, {"steps": 100, "search_steps": 4}, "foolbox",
     {"attack": "L2CarliniWagnerAttack", "steps": 100, "binary_search_steps": 4}),
    ("cw", L2, {"steps": 100, "search_steps": 4}, "torchattacks", {"attack": "CW", "steps": 400}),
    pytest.param("cw", L2, {"steps": 100, "search_steps": 4}, "art",
                 {"attack": "CarliniL2Method", "max_iter": 100, "binary_search_steps": 4}, marks=pytest.mark.drill),
    ("fab", Budget("linf", None), {"steps": 20}, "torchattacks", {"attack": "FAB", "steps": 20}),
    ("boundary", L2, {"steps": 500}, "foolbox", {"attack": "BoundaryAttack", "steps": 500}),
    pytest.param("sparsefool", L0, {}, "torchattacks", {"attack": "SparseFool", "steps": 20}, marks=pytest.mark.drill),
]  # fmt: skip


def both(digits, ours, mine, peer, theirs, budget, other=None):
    if ours not in registry.names("attack") or budget.norm not in registry.describe("attack", ours).facts.norms:
        pytest.skip(f"there is no {ours} in {budget.norm}")
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed")
    model, images, labels = digits
    return (
        attacked(model, ours, budget, images, labels, **mine),
        attacked(model, peer, other or budget, images, labels, **theirs),
    )


def found(rows):
    return sum(bool(row["success"]) for row in rows)


@pytest.mark.parametrize(("ours", "mine", "peer", "theirs"), BALL, ids=[f"{case[0]}-{case[2]}" for case in BALL])
def test_ours_fools_as_many_within_the_same_budget(digits, ours, mine, peer, theirs):
    rows, others = both(digits, ours, mine, peer, theirs, LINF)
    assert all(row["linf"] <= 0.1 * (1 + 1e-4) for row in rows if row["attacked"])
    assert 5 < found(others) < 60
    assert found(rows) >= found(others)


@pytest.mark.parametrize(
    ("ours", "budget", "mine", "peer", "theirs"),
    NEAREST,
    ids=[f"{case[0]}-{case[1].norm}-{case[3]}" for case in (getattr(each, "values", each) for each in NEAREST)],
)
def test_ours_finds_points_as_near(digits, ours, budget, mine, peer, theirs):
    wide = Budget(budget.norm, 1.0) if theirs["attack"] == "FAB" else None  # torchattacks will not do without an eps
    rows, others = both(digits, ours, mine, peer, theirs, budget, wide)
    assert found(rows) >= found(others)
    assert found(rows) == sum(row["attacked"] for row in rows)
    pairs = [
        (row[budget.norm], other[budget.norm]) for row, other in zip(rows, others, strict=True) if other["success"]
    ]
    assert len(pairs) > 10
    assert math.fsum(mine for mine, _ in pairs) <= 1.01 * math.fsum(other for _, other in pairs)


def test_one_pixel_fools_as_many(digits):
    own = {"population": 100, "generations": 30}
    theirs = {"attack": "OnePixel", "pixels": 1, "steps": 30, "popsize": 100, "inf_batch": 100}
    model, images, labels = digits
    rows, others = both((model, images[:20], labels[:20]), "one_pixel", own, "torchattacks", theirs, L0)
    assert found(rows) >= found(others)


@pytest.mark.parametrize("method", ["gradient", "deepfool"])
def test_a_universal_perturbation_fools_as_many_of_the_images_it_was_made_from(digits, method):
    model, images, labels = digits[0], digits[1][:12], digits[2][:12]  # the library takes a second for each
    wide = Budget("linf", 0.25)
    theirs = {"attack": "UniversalPerturbation", "max_iter": 1, "delta": 0.0}
    own = case("universal", wide, method=method)
    state = prepare_attack(model, own, images, labels, torch.arange(12), num_classes=10).state
    rows, others = both((model, images, labels), "universal", {"method": method, "state": state}, "art", theirs, wide)
    assert found(rows) >= found(others) > 0
