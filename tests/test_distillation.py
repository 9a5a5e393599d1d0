"""Defensive distillation: what teacher and student minimise, and what becomes of the student at temperature 1."""

import pytest
import torch
from defended import cell, real_images, toy, trained

from tasks.defenses.distillation import distillation
from tasks.heads.softrmax import softrmax
from tasks.metrics import frozen
from tasks.registry import describe
from tasks.training.objective import Defense, combine, objective

IMAGES = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.tensor([0, 2, 1, 1, 0])
HOW = {"epochs": 6, "batch_size": 32, "lr": 5e-3}


@pytest.fixture(scope="module")
def mnist():
    return real_images(600, 200)


@pytest.fixture(scope="module")
def teacher(mnist):
    model, _ = trained(cell("distillation", temperature=10.0, teacher=True), mnist, **HOW)
    return model.requires_grad_(requires_grad=False)


def another():
    model = toy()
    model.head.weight.data.mul_(-3)
    return model


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_the_teacher_learns_the_labels_with_its_scores_divided_by_the_temperature(temperature):
    model = toy()
    loss, scores = objective(distillation(temperature=temperature, teacher=True), model)(model, IMAGES, LABELS)
    expected = torch.nn.functional.cross_entropy(model(IMAGES) / temperature, LABELS)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.equal(scores, model(IMAGES))


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_the_student_learns_the_teachers_probabilities_at_the_temperature(temperature):
    model, teacher = toy(), another()
    defense = distillation(temperature=temperature).taught(teacher)
    loss, scores = objective(defense, model)(model, IMAGES, LABELS)
    expected = torch.nn.functional.cross_entropy(
        model(IMAGES) / temperature, (teacher(IMAGES) / temperature).softmax(1)
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.equal(scores, model(IMAGES))
    assert defense.loss(model, IMAGES, (LABELS + 1) % 3)[0] == loss


def test_no_gradient_reaches_the_teacher_and_it_stays_in_evaluation_mode():
    model, teacher = toy().train(), another()
    loss, _ = distillation().taught(teacher).loss(model, IMAGES, LABELS)
    loss.backward()
    assert all(weight.grad.abs().sum() > 0 for weight in model.parameters())
    assert all(weight.grad is None for weight in teacher.parameters())
    assert not teacher.training


def test_the_teacher_is_asked_once_for_each_batch():
    model, teacher, asked = toy(), another(), []
    teacher.register_forward_hook(lambda *_: asked.append(torch.is_grad_enabled()))
    defense = distillation().taught(teacher)
    for _ in range(3):
        defense.loss(model, IMAGES, LABELS)
    assert asked == [False] * 3


def test_the_loss_is_least_where_the_student_is_the_teacher():
    teacher, student = another(), another()
    loss, _ = distillation(temperature=5.0).taught(teacher).loss(student, IMAGES, LABELS)
    gradients = torch.autograd.grad(loss, list(student.parameters()))
    assert all(gradient.abs().max() < 1e-15 for gradient in gradients)


def test_another_head_has_its_scores_divided_before_they_become_probabilities():
    model = toy()
    model.head = softrmax(4, 3).double()
    loss, scores = distillation(temperature=4.0, teacher=True).loss(model, IMAGES, LABELS)
    distances = (scores / 4)[:, None] - torch.eye(3, dtype=torch.float64)
    weights = distances.square().sum(2).reciprocal()
    expected = -(weights / weights.sum(1, keepdim=True)).gather(1, LABELS[:, None]).log().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_teacher_is_the_same_component_trained_first():
    assert describe("defense", "distillation").facts.base == {"teacher": True}
    assert distillation(teacher=True).taught is None
    assert distillation().loss is None


def test_distillation_goes_with_other_parts():
    extra = Defense(penalty=lambda model, images, labels: torch.tensor(1.0, dtype=torch.float64))
    model, teacher = toy(), another()
    both, alone = combine([distillation(), extra]).taught(teacher), distillation().taught(teacher)
    assert objective(both, model)(model, IMAGES, LABELS)[0] == objective(alone, model)(model, IMAGES, LABELS)[0] + 1


def test_two_epochs_on_real_images_lower_the_loss_of_teacher_and_student(mnist):
    how = {"epochs": 2, "batch_size": 32, "lr": 2e-3}
    teacher, history = trained(cell("distillation", teacher=True), mnist, **how)
    with frozen(teacher):
        _, learned = trained(cell("distillation"), mnist, teacher=teacher, **how)
    for table in (history, learned):
        before, after = table["loss"].to_pylist()
        assert after < before
        assert table["test_accuracy"].to_pylist()[1] > 0.5


def test_a_distilled_student_agrees_with_its_teacher_and_is_surer_of_real_images_than_a_natural_model(mnist, teacher):
    student, _ = trained(cell("distillation", temperature=10.0), mnist, teacher=teacher, **HOW)
    natural, _ = trained(cell("natural"), mnist, **HOW)
    images = mnist[1].images.float() / 255
    with torch.no_grad():
        doubts = [(1 - model(images).double().softmax(1).amax(1)).median().item() for model in (natural, student)]
        agreed = (student(images).argmax(1) == teacher(images).argmax(1)).double().mean().item()
    assert doubts[1] < doubts[0] / 10
    assert agreed > 0.8
