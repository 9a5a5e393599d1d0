"""Defenses: the loss of one batch, against the definition."""

import pytest
import torch
from torch import nn

from tasks.heads.softmax import softmax
from tasks.heads.softrmax import softrmax
from tasks.model import Classifier
from tasks.registry import load, names


def toy(head: nn.Module) -> Classifier:
    return Classifier(nn.Flatten(), head, shape=(1, 2, 2), num_classes=3, mean=(0.5,), std=(0.25,))


@pytest.mark.parametrize("head", [softmax, softrmax])
def test_natural_is_the_mean_negative_log_likelihood_under_the_heads_own_probabilities(head):
    torch.manual_seed(0)
    model, images, labels = toy(head(4, 3)), torch.rand(5, 1, 2, 2), torch.tensor([0, 2, 1, 1, 0])
    loss, scores = load("defense", "natural")().loss(model, images, labels)
    log_probabilities = model.log_probabilities(model(images))
    expected = -sum(log_probabilities[row, label].item() for row, label in enumerate(labels)) / 5
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert torch.equal(scores, model(images))


@pytest.mark.parametrize("name", names("defense"))
def test_a_defense_gives_a_loss_that_reaches_every_weight_and_a_score_per_image_and_class(name):
    torch.manual_seed(0)
    model = toy(softmax(4, 3))
    loss, scores = load("defense", name)().loss(model, torch.rand(5, 1, 2, 2), torch.tensor([0, 2, 1, 1, 0]))
    loss.backward()
    assert loss.shape == ()
    assert scores.shape == (5, 3)
    assert all(weight.grad.abs().sum() > 0 for weight in model.parameters())
