"""Defenses that break one promise each."""

import random

import torch
from torch import nn

from broken import layers
from broken.mark import breaks, keeps
from tasks.parameters import Positive
from tasks.registry import component
from tasks.training.objective import Defense, mean_loss


def before(layer):
    """A defense that puts a layer in front of the model."""

    def adapt(model):
        model.input = nn.Sequential(model.input, layer())

    return Defense(adapt=adapt)


@keeps
@component("defense", version=1)
def good():
    """A penalty on the mean square of the scores, and noise on the images that are trained on."""
    return Defense(
        craft=lambda model, images, labels: (images + 0.05 * torch.randn_like(images)).clamp(0, 1),
        penalty=lambda model, images, labels: 0.01 * model(images).square().mean(),
    )


@keeps
@component("defense", version=1, stochastic=True)
def good_that_draws():
    """A little noise on the pixels."""
    return before(layers.Undeclared)


@keeps
@component("defense", version=1, loss={"teacher": (True,)}, base={"teacher": True})
def good_student(*, teacher: bool = False):
    """Half of the loss is that of a teacher's predictions."""
    if teacher:
        return Defense()

    def taught(model):
        def loss(student, images, labels):
            with torch.no_grad():
                told = model(images).argmax(1)
            first, scores = mean_loss(student, images, labels)
            return (first + student.losses(scores, told).mean()) / 2, scores

        return Defense(loss=loss)

    return Defense(taught=taught)


@keeps
@component("defense", version=1, evaluation=("factor",))
def good_in_evaluation(*, factor: Positive = 0.9):
    """Darker images in evaluation."""
    return before(lambda: layers.InEvaluation(factor))


@breaks("is_a_defense")
@component("defense", version=1)
def only_a_loss():
    """It makes a loss, and no Defense."""
    return mean_loss


@breaks("learns_from_a_teacher")
@component("defense", version=1)
def learns_undeclared():
    """It learns from a model that it does not declare."""
    return Defense(taught=lambda model: Defense())


@breaks("learns_from_a_teacher")
@component("defense", version=1, base={"teacher": True})
def learns_nothing(*, teacher: bool = False):
    """It declares a teacher, and learns from none."""
    return Defense()


@breaks("learns_from_a_teacher")
@component("defense", version=1, base={"teacher": True})
def spoils_its_teacher(*, teacher: bool = False):
    """It changes the weights of its teacher."""

    def taught(model):
        with torch.no_grad():
            next(model.parameters()).mul_(0.9)
        return Defense()

    return Defense() if teacher else Defense(taught=taught)


@breaks("declares_its_loss")
@component("defense", version=1)
def loses_undeclared():
    """It has a loss of its own, and does not declare it."""
    return Defense(loss=mean_loss)


@breaks("declares_its_loss")
@component("defense", version=1, adds_to_loss=False)
def adds_undeclared():
    """It declares that it adds nothing to the loss, and has a penalty."""
    return Defense(penalty=lambda model, images, labels: 0.01 * model(images).square().mean())


@breaks("declares_its_loss")
@component("defense", version=1, loss=True)
def loses_nothing():
    """It declares a loss of its own, and has none."""
    return Defense()


@breaks("has_a_loss_and_scores")
@component("defense", version=1, loss=True)
def loses_each():
    """Its loss is a number for each image."""

    def loss(model, images, labels):
        scores = model(images)
        return model.losses(scores, labels), scores

    return Defense(loss=loss)


@breaks("has_a_loss_and_scores")
@component("defense", version=1, loss=True)
def forgets_its_scores():
    """In place of the scores it returns the predictions."""

    def loss(model, images, labels):
        value, scores = mean_loss(model, images, labels)
        return value, scores.argmax(1)

    return Defense(loss=loss)


@breaks("has_a_loss_and_scores")
@component("defense", version=1)
def infinite():
    """Its penalty is infinite."""
    return Defense(penalty=lambda model, images, labels: images.sum() / 0)


@breaks("reaches_every_weight")
@component("defense", version=1, loss=True)
def detaches():
    """Its loss has no gradient."""

    def loss(model, images, labels):
        value, scores = mean_loss(model, images, labels)
        return value.detach(), scores

    return Defense(loss=loss)


@breaks("reaches_every_weight")
@component("defense", version=1, loss=True)
def trains_the_head_alone():
    """Its loss has no gradient in the body."""

    def loss(model, images, labels):
        with torch.no_grad():
            features = model.body((images - model.mean) / model.std)
        scores = model.head(features)
        return model.losses(scores, labels).mean(), scores

    return Defense(loss=loss)


@breaks("leaves_the_batch_and_the_model")
@component("defense", version=1)
def writes_images():
    """It adds its noise to the images in place."""
    return Defense(craft=lambda model, images, labels: images.add_(0.01).clamp_(0, 1))


@breaks("leaves_the_batch_and_the_model")
@component("defense", version=1)
def leaves_the_mode():
    """It leaves the model in evaluation mode after it has crafted."""
    return Defense(craft=lambda model, images, labels: model.eval() and images)


@breaks("leaves_the_batch_and_the_model")
@component("defense", version=1)
def adds_up_gradients():
    """Its crafting leaves gradients in the weights."""

    def craft(model, images, labels):
        leaf = images.detach().requires_grad_()
        mean_loss(model, leaf, labels)[0].backward()
        return (images + 0.01 * leaf.grad.sign()).clamp(0, 1)

    return Defense(craft=craft)


@breaks("draws_from_torchs_generator")
@component("defense", version=1)
def dicing():
    """It draws from Python's generator."""
    return Defense(penalty=lambda model, images, labels: 0.1 * random.random() * model(images).square().mean())


@breaks("crafts_images")
@component("defense", version=1)
def leaves_the_box():
    """It crafts pixels that are above 1."""
    return Defense(craft=lambda model, images, labels: images + 0.5)


@breaks("crafts_images")
@component("defense", version=1)
def crafts_with_a_graph():
    """What it crafts keeps the graph that it was made with."""

    def craft(model, images, labels):
        leaf = images.detach().requires_grad_()
        return (leaf + 0.01 * leaf).clamp(0, 1)

    return Defense(craft=craft)


@breaks("teaches_the_classes")
@component("defense", version=1, loss=True)
def unteaches():
    """It raises the loss."""

    def loss(model, images, labels):
        value, scores = mean_loss(model, images, labels)
        return -value, scores

    return Defense(loss=loss)


@breaks("teaches_the_classes")
@component("defense", version=1, loss=True)
def teaches_other_classes():
    """It teaches of each class the next one."""
    return Defense(loss=lambda model, images, labels: mean_loss(model, images, (labels + 1) % 3))
