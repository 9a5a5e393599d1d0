"""Probes of a network trained on real digits."""

from pathlib import Path

import pytest
import torch
from probe_toys import measured
from torch import nn

from tasks.architectures.mlp import mlp
from tasks.config import Component
from tasks.heads.softmax import softmax
from tasks.model import Classifier, load_split
from tasks.types import DataRoot

REAL = DataRoot(Path(__file__).parent.parent.parent / "shared" / "data")


class Logistic(nn.Module):
    """1 / (1 + exp(-x)), with the regimes of the paper's temperature 1."""

    def forward(self, net):
        return net.sigmoid()

    def regimes(self, net):
        return net.abs() <= 1.44, net.abs() >= 7.6


@pytest.fixture(scope="module")
def trained():
    """A classifier after one epoch of 600 digits, and the images and labels of 200 others."""
    if not (REAL.path / "MNIST").is_dir():
        pytest.skip(f"no MNIST files under {REAL.path}")
    dataset = Component("dataset", "mnist", 1)
    train, test = (load_split(dataset, split, REAL) for split in ("train", "test"))
    made: list[nn.Module] = []

    def activation():
        made.append(Logistic())
        return made[-1]

    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = mlp(train.shape, activation, hidden=[64, 32])
        head = softmax(body.width, 10)
        ends = {"shape": train.shape, "num_classes": 10, "mean": train.mean, "std": train.std}
        model = Classifier(body, head, **ends, activations=made)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
        for images, labels in zip(train.images[:600].split(20), train.labels[:600].split(20), strict=True):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images / 255), labels).backward()
            optimiser.step()
    model.zero_grad()
    return model, test.images[:200] / 255, test.labels[:200]


def test_confidence_agrees_with_accuracy_and_margin(trained):
    found = measured("confidence", *trained)
    accuracy = found[None, "correct"].double().mean()
    assert 0.6 < accuracy < 1
    assert bool(((found[None, "margin"] > 0) == found[None, "correct"]).all())
    assert bool((found[None, "true_class_confidence"] <= found[None, "confidence"]).all())
    assert bool((found[None, "confidence"] >= 0.1).all())
    assert 0 < float(found[None, "entropy"].min()) < float(found[None, "entropy"].max()) < 2.31


def test_the_shares_of_the_regimes_sum_to_one(trained):
    found = measured("activation_regimes", *trained, layers=None)
    for layer in "12":
        shares = [found[layer, name] for name in ("linear", "nonlinear", "saturated")]
        torch.testing.assert_close(sum(shares), torch.ones(200, dtype=torch.float64))
    assert 0 < float(found["2", "linear"].mean()) < 1


def test_steep_images_are_those_that_the_model_is_unsure_of(trained):
    found = measured("input_gradient", *trained)
    steepness, confidence = found[None, "mean_abs_gradient"], found[None, "true_class_confidence"].double()
    assert float(torch.corrcoef(torch.stack([steepness, confidence]))[0, 1]) < -0.3
    torch.testing.assert_close(found[None, "l1"], 784 * steepness)
    assert bool((found[None, "linf"] <= found[None, "l2"]).all())
    assert bool((found[None, "l2"] <= found[None, "l1"]).all())


def test_pgd_moves_every_layer_more_than_noise_does(trained):
    options = {"eps": 0.1, "steps": 5, "alpha": 0.03, "batch_size": 100}
    adversarial = measured("perturbation_growth", *trained, **options)
    noise = measured("perturbation_growth", *trained, **options, perturbation="uniform")
    for layer in ("1", "2", "scores"):
        assert float(adversarial[layer, "l2"].median()) > 2 * float(noise[layer, "l2"].median())
    assert float(adversarial["input", "linf"].max()) <= 0.1 + 1e-6
    assert float(noise["input", "linf"].max()) <= 0.1 + 1e-6


def test_fgsm_costs_accuracy_and_moves_most_pixels(trained):
    found = measured("fgsm_robustness", *trained)
    assert float(found[None, "robust"].double().mean()) < float(found[None, "correct"].double().mean()) - 0.2
    assert 0.1 < float(found[None, "unchanged_share"].mean()) < 0.9  # black pixels that would fall


def test_a_logistic_network_has_a_gradient_everywhere_and_a_sensitivity(trained):
    found = measured("zero_gradient_distance", *trained, steps=2)
    assert not bool(found[None, "found"].any())
    sums = [measured("sensitivity_map", *trained, variant=v)[None, "sensitivity"] for v in ("published", "corrected")]
    assert all(float(values.min()) >= 0 for values in sums)
    assert all(float(values.max()) > 0 for values in sums)
