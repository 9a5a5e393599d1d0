"""What a probe promises. It is tried on a network with hidden layers to look into."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tasks.contracts.declared import read_as_declared, says_what_it_is
from tasks.contracts.intact import left_alone, left_generator, whatever_the_generator
from tasks.contracts.probing import Measured, measured
from tasks.contracts.subject import Subject, UnaskedError, require
from tasks.contracts.toys import Deep, Wobbly, deep_net, pixels, seeded
from tasks.types import Images, Scores


def measures_every_image(subject: Subject) -> None:
    """Every image has for each measure a finite number, or none, or as many as every other image has."""
    found = measured(subject, deep_net(), pixels(5))
    require(found, "it measured nothing")
    for (_, name), values in found.items():
        require(values.dim() in {1, 2} and len(values) == 5, f"{name} has shape {tuple(values.shape)} for 5 images")
        require(values.dtype == torch.bool or values.is_floating_point(), f"{name} is {values.dtype}")
        require(not values.requires_grad, f"{name} keeps the graph that it was made with")
        require(not values.isinf().any(), f"{name} is infinite")


def leaves_the_model(subject: Subject) -> None:
    """The model is as it was: weights, gradients, in which mode, and without a hook."""
    measured(subject, deep_net(), pixels(6), held=left_alone)


def leaves_no_hook_where_the_model_fails(subject: Subject) -> None:
    """If the model raises in the middle of a pass, no hook of the probe is left in it."""
    model = deep_net(kind=Cracked)
    labels = model(pixels(3)).argmax(1)
    model.__dict__["whole"] = False
    with left_alone(model):
        try:
            measured(subject, model, pixels(3), labels, num_classes=4)
        except RuntimeError as error:
            require("cracked" in str(error), f"it failed otherwise: {error}")
        else:
            require(not model.has_raised, "the model failed, and it did not")
            raise UnaskedError("it does not ask the model")


def leaves_what_it_is_given(subject: Subject) -> None:
    """The images and the labels that it is given are as they were when it is done."""
    images, labels = pixels(6), torch.arange(6) % 4
    with left_alone(nn.Identity(), images=images, labels=labels):
        measured(subject, deep_net(), images, labels)


def leaves_torchs_generator(subject: Subject) -> None:
    """It neither moves torch's own generator nor depends on where that is."""
    model = deep_net()
    with left_generator():
        measured(subject, model, pixels(6))
    _alike(*whatever_the_generator(lambda: measured(subject, model, pixels(6))), "with torch's own generator elsewhere")


def repeats_itself(subject: Subject) -> None:
    """The same call measures the same."""
    images, labels, model = pixels(6), torch.arange(6) % 4, deep_net()
    _alike(measured(subject, model, images, labels), measured(subject, model, images, labels), "called again")


def takes_any_shape(subject: Subject) -> None:
    """Images may have any shape and there may be two classes or a hundred."""
    shape = (3, 5, 8)
    for classes in (2, 100):
        found = measured(subject, deep_net(classes, shape), pixels(3, shape), torch.tensor([0, 1, 1]))
        require(all(len(values) == 3 for values in found.values()), f"3 images of {classes} classes have other rows")


def measures_nothing_of_no_sample(subject: Subject) -> None:
    """No samples have the same measures as some, with no rows."""
    model, labels = deep_net(), torch.zeros(0, dtype=torch.int64)
    none, some = measured(subject, model, pixels(0), labels, num_classes=4), measured(subject, model, pixels(2))
    shapes = {key: tuple(values.shape) for key, values in none.items()}
    due = {key: (0, *values.shape[1:]) for key, values in some.items()}
    require(shapes == due, f"of no samples it measured {shapes}, and not {due}")


def is_the_same_in_any_batch(subject: Subject) -> None:
    """Neither batch nor order nor chunk changes a row."""
    _any_batch(subject, deep_net())


def measures_a_model_that_draws(subject: Subject) -> None:
    """A model that draws numbers is measured alike in every batch, too."""
    _any_batch(subject, deep_net(kind=Wobbly))


def perturbs_for_its_source(subject: Subject) -> None:
    """If it perturbs images, it does so for the model that it is given as the source."""
    if not subject.facts.sourced:
        raise UnaskedError("it declares no source")
    model, images, source = deep_net(), pixels(6), deep_net()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.neg_()
    own, other = measured(subject, model, images), measured(subject, model, images, source=source)
    same = all(torch.equal(own[key].nan_to_num(), values.nan_to_num()) for key, values in other.items())
    require(not same, "with another source it measures the same")


class Cracked(Deep):
    """Raises at the end of a pass, if it is not whole."""

    whole = True
    has_raised = False

    def forward(self, images: Images) -> Scores:
        """(batch, classes)."""
        scores = super().forward(images)
        if not self.whole:
            self.__dict__["has_raised"] = True
            raise RuntimeError("cracked")
        return scores


def _any_batch(subject: Subject, model: Deep) -> None:
    images, labels = pixels(20), torch.arange(20) % 4
    whole = measured(subject, model, images, labels)
    for size in (1, 7):
        _alike(measured(subject, model, images, labels, batch_size=size), whole, f"in batches of {size}")
    _alike(measured(subject, model, images, labels, fixed_batch=6), whole, "in passes of 6")
    order = torch.randperm(20, generator=seeded(3))
    shuffled = measured(subject, model, images[order], labels[order], samples=order + 100)
    _alike({key: values[order.argsort()] for key, values in shuffled.items()}, whole, "in another order")


def _alike(found: Measured, due: Measured, how: str) -> None:
    """Far beyond float32's last place; float64 sums round differently in batches of another size."""
    require(list(found) == list(due), f"{how} it measured other things")
    for key, values in due.items():
        require(_close(found[key], values), f"{how} {key[1]} is another")


def _close(found: Tensor, due: Tensor) -> bool:
    return torch.allclose(found.double(), due.double(), rtol=1e-10, atol=1e-13, equal_nan=True)


PROMISES: tuple[Callable[[Subject], None], ...] = (
    read_as_declared,
    says_what_it_is,
    measures_every_image,
    leaves_the_model,
    leaves_what_it_is_given,
    repeats_itself,
    leaves_torchs_generator,
    takes_any_shape,
    measures_nothing_of_no_sample,
    leaves_no_hook_where_the_model_fails,
    is_the_same_in_any_batch,
    measures_a_model_that_draws,
    perturbs_for_its_source,
)
"""In the order in which they are asked: what needs little comes first."""
