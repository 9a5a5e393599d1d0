"""Defenses: the loss of one batch, against the definition."""

import pytest
import torch
from torch import nn

from tasks.heads.softmax import softmax
from tasks.heads.softrmax import softrmax
from tasks.model import Classifier
from tasks.registry import load
from tasks.training.objective import Defense, combine, objective
from tasks.types import TaskError

SMOOTHED = load("defense", "label_smoothing")(smoothing=0.1)
ORTHOGONAL = load("defense", "orthogonality")(beta=0.1)


def toy(head: nn.Module) -> Classifier:
    return Classifier(nn.Flatten(), head, shape=(1, 2, 2), num_classes=3, mean=(0.5,), std=(0.25,))


@pytest.mark.parametrize("head", [softmax, softrmax])
def test_natural_is_the_mean_negative_log_likelihood_under_the_heads_own_probabilities(head):
    torch.manual_seed(0)
    model, images, labels = toy(head(4, 3)), torch.rand(5, 1, 2, 2), torch.tensor([0, 2, 1, 1, 0])
    loss, scores = objective(load("defense", "natural")(), model)(model, images, labels)
    log_probabilities = model.log_probabilities(model(images))
    expected = -sum(log_probabilities[row, label].item() for row, label in enumerate(labels)) / 5
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert torch.equal(scores, model(images))


def test_a_combination_has_the_loss_of_one_part_and_the_penalties_of_all():
    torch.manual_seed(0)
    model, images, labels = toy(softmax(4, 3)), torch.rand(5, 1, 2, 2), torch.tensor([0, 2, 1, 1, 0])
    both, _ = objective(load("defense", "combined")(parts=[SMOOTHED, ORTHOGONAL]), model)(model, images, labels)
    smoothed, _ = objective(load("defense", "label_smoothing")(smoothing=0.1), model)(model, images, labels)
    penalty = load("defense", "orthogonality")(beta=0.1).penalty(model, images, labels)
    assert penalty.item() > 0
    assert both.item() == pytest.approx(smoothed.item() + penalty.item(), rel=1e-6)


def test_each_part_crafts_from_what_the_one_before_it_crafted():
    doubled = Defense(craft=lambda model, images, labels: images * 2)
    shifted = Defense(craft=lambda model, images, labels: images + 1)
    model, labels = toy(softmax(4, 3)), torch.tensor([0])
    crafted = combine([doubled, shifted]).craft(model, torch.ones(1, 1, 2, 2), labels)
    assert crafted.unique().tolist() == [3.0]


def test_two_parts_with_a_loss_of_their_own_are_refused():
    trades = load("defense", "trades")(eps=0.1)
    with pytest.raises(TaskError, match="more than one of the defenses has its own loss"):
        load("defense", "combined")(parts=[SMOOTHED, trades])


def test_the_penalty_of_a_module_is_added_to_every_batch():
    class Costly(nn.Flatten):
        def penalty(self) -> torch.Tensor:
            return torch.tensor(2.5)

    torch.manual_seed(0)
    images, labels = torch.rand(5, 1, 2, 2), torch.tensor([0, 2, 1, 1, 0])
    head = softmax(4, 3)
    costly = Classifier(Costly(), head, shape=(1, 2, 2), num_classes=3, mean=(0.5,), std=(0.25,))
    plain, _ = objective(Defense(), toy(head))(toy(head), images, labels)
    assert objective(Defense(), costly)(costly, images, labels)[0].item() == pytest.approx(plain.item() + 2.5)
