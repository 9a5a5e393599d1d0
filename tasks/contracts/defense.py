"""What a defense promises: the loss of a batch, and changes to a model. It is tried on a small classifier."""

from collections.abc import Callable

import torch

from tasks.contracts.bench import CPU, classifier_for, loss_of, taught, teacher_for
from tasks.contracts.declared import read_as_declared, says_what_it_is
from tasks.contracts.intact import left_alone
from tasks.contracts.part import PART_PROMISES
from tasks.contracts.subject import Subject, UnaskedError, require
from tasks.contracts.toys import patterns
from tasks.metrics import frozen
from tasks.model import Classifier
from tasks.model import seeded as drawing_from
from tasks.registry import describe
from tasks.training.objective import Defense
from tasks.types import Images, Labels


def is_a_defense(subject: Subject) -> None:
    """It makes a Defense, whose parts are the training's."""
    made = subject.make()
    require(isinstance(made, Defense), f"it makes a {type(made).__name__}, not a Defense")


def declares_its_loss(subject: Subject) -> None:
    """It has a loss of its own if it declares one, and only then; and none of its parts add to it undeclared."""
    defense = subject.make()
    if defense.taught:
        defense = defense.taught(classifier_for())
    declared = _declares(subject, "has_loss")
    says = "a loss of its own" if declared else "no loss of its own"
    require((defense.loss is not None) == declared, f"it declares {says}, but its Defense says otherwise")
    is_silent = not _declares(subject, "adds") and (defense.craft or defense.loss or defense.penalty)
    require(not is_silent, "it declares that it adds nothing to the loss, but its Defense does")


def has_a_loss_and_scores(subject: Subject) -> None:
    """The loss of a batch is one finite number, beside a score for each image and class."""
    with drawing_from(0, CPU):
        defense, model, images, labels = _batch(subject)
        loss, scores = loss_of(defense, model)(model, images, labels)
    require(loss.shape == () and loss.isfinite(), f"the loss of a batch is {loss}, not one finite number")
    require(scores.shape == (6, 3), f"the scores of 6 images in 3 classes have shape {tuple(scores.shape)}")


def reaches_every_weight(subject: Subject) -> None:
    """The gradient of its loss reaches every weight of the model."""
    with drawing_from(0, CPU):
        defense, model, images, labels = _batch(subject)
        loss, _ = loss_of(defense, model)(model, images, labels)
    require(loss.requires_grad, "its loss has no gradient")
    loss.backward()  # type: ignore[no-untyped-call]
    for name, weight in model.named_parameters():
        require(weight.grad is not None and weight.grad.abs().sum() > 0, f"no gradient reaches {name}")


def leaves_the_batch_and_the_model(subject: Subject) -> None:
    """Making the loss changes neither the images and labels nor the model: no weight, no gradient, no mode."""
    with drawing_from(0, CPU):
        defense, model, images, labels = _batch(subject)
        loss = loss_of(defense, model)
        with left_alone(model, images=images, labels=labels):
            loss(model, images, labels)


def draws_from_torchs_generator(subject: Subject) -> None:
    """All that it draws in training comes from torch's own generator, which the training sets for each epoch."""
    losses = []
    for _ in range(2):
        with drawing_from(0, CPU):
            defense, model, images, labels = _batch(subject)
            loss = loss_of(defense, model)
            losses.append([loss(model, images, labels)[0].detach() for _ in range(3)])
    require(losses[0] == losses[1], "with torch's generator in the same place its loss is another")


def crafts_images(subject: Subject) -> None:
    """What it trains on in place of the images are images: as many, in [0, 1], and without a gradient."""
    with drawing_from(0, CPU):
        defense, model, images, labels = _batch(subject)
        if defense.craft is None:
            raise UnaskedError("it trains on the images themselves")
        crafted = defense.craft(model, images, labels)
    require(crafted.shape == images.shape, f"of {tuple(images.shape)} it crafted {tuple(crafted.shape)}")
    require(crafted.dtype == images.dtype, f"of {images.dtype} it crafted {crafted.dtype}")
    low, high = float(crafted.min()), float(crafted.max())
    require(0 <= low <= high <= 1, f"it crafted pixels from {low:.4g} to {high:.4g}")
    require(not crafted.requires_grad, "what it crafted keeps the graph that it was made with")


def learns_from_a_teacher(subject: Subject) -> None:
    """It learns from another cell's model if it declares which, and only then; that model stays as it is."""
    defense = subject.make()
    declared = _declares(subject, "has_base")
    says = "a model to learn from" if declared else "no model to learn from"
    require((defense.taught is not None) == declared, f"it declares {says}, but its Defense says otherwise")
    if defense.taught is None:
        raise UnaskedError("it learns from no other model")
    with drawing_from(0, CPU):
        _, model, images, labels = _batch(subject)
        teacher = teacher_for(model)
        with frozen(teacher), left_alone(teacher):
            loss, _ = loss_of(defense.taught(teacher), model)(model, images, labels)
            loss.backward()  # type: ignore[no-untyped-call]


def teaches_the_classes(subject: Subject) -> None:
    """A model that it trains knows three classes that are easy to tell apart."""
    with drawing_from(0, CPU):
        defense = subject.make()
        model = classifier_for(defense)
        taught(model, loss_of(defense, model))
        test = patterns(30, seed=3)
        with torch.no_grad():
            share = float((model(test.images).argmax(1) == test.labels).double().mean())
    require(share > 0.6, f"after fifty steps it is right about {share:.0%} of three classes")


def _declares(subject: Subject, fact: str) -> bool:
    """What it declares, or one of the defenses that are its parameters does."""
    components = (subject.component, *subject.component.parts)
    return any(getattr(describe("defense", each.name).facts, fact)(each.parameters) for each in components)


def _batch(subject: Subject) -> tuple[Defense, Classifier, Images, Labels]:
    """The defense, a model that it has changed, in training mode, and a batch of six."""
    defense, split = subject.make(), patterns(6, seed=1)
    return defense, classifier_for(defense).train(), split.images.clone(), split.labels.clone()


PROMISES: tuple[Callable[[Subject], None], ...] = (
    read_as_declared,
    says_what_it_is,
    is_a_defense,
    learns_from_a_teacher,
    declares_its_loss,
    has_a_loss_and_scores,
    reaches_every_weight,
    leaves_the_batch_and_the_model,
    draws_from_torchs_generator,
    crafts_images,
    *PART_PROMISES,
    teaches_the_classes,
)
"""In the order in which they are asked: what needs little comes first."""
