"""Probes that break one promise each. All are variations of `good`: how far ahead the label is."""

import random

import torch

from broken.mark import breaks, keeps
from tasks.noise import is_stochastic
from tasks.registry import component
from tasks.types import Measure


def lead(model, images, labels):
    with torch.no_grad():
        return model.margins(model(images), labels)


@keeps
@component("probe", version=1)
def good(model, images, labels, streams):
    """How far ahead the label is."""
    return [Measure("lead", lead(model, images, labels))]


@keeps
@component("probe", version=1, sourced=True)
def good_sourced(model, images, labels, streams, source):
    """How far ahead the label is after a step that is made for the source."""
    gradient, _ = source.ascent(images, labels)
    return [Measure("lead", lead(model, (images + 0.05 * gradient.sign()).clamp(0, 1), labels))]


@breaks("measures_every_image")
@component("probe", version=1)
def averages(model, images, labels, streams):
    """It returns one number for the batch."""
    return [Measure("lead", lead(model, images, labels).mean()[None])]


@breaks("measures_every_image")
@component("probe", version=1)
def infinite(model, images, labels, streams):
    """Its numbers are infinite."""
    return [Measure("lead", lead(model, images, labels) / 0)]


@breaks("measures_every_image")
@component("probe", version=1)
def keeps_its_graph(model, images, labels, streams):
    """Its numbers keep the graph that they were made with."""
    return [Measure("lead", model.margins(model(images.requires_grad_()), labels))]


@breaks("measures_every_image")
@component("probe", version=1)
def counts(model, images, labels, streams):
    """Its numbers are whole ones."""
    return [Measure("lead", lead(model, images, labels).long())]


@breaks("measures_every_image")
@component("probe", version=1)
def nothing(model, images, labels, streams):
    """It measures nothing."""
    return []


@breaks("measures_every_image")
@component("probe", version=1)
def twice(model, images, labels, streams):
    """It gives two measures one name."""
    return [Measure("lead", lead(model, images, labels)) for _ in range(2)]


@breaks("leaves_the_model")
@component("probe", version=1)
def leaves_a_hook(model, images, labels, streams):
    """It leaves a hook in the model."""
    model.classifier.activations[0].register_forward_hook(lambda *_: None)
    return [Measure("lead", lead(model, images, labels))]


@breaks("leaves_the_model")
@component("probe", version=1)
def changes_weights(model, images, labels, streams):
    """It doubles a weight."""
    next(model.classifier.parameters()).data.mul_(2)
    return [Measure("lead", lead(model, images, labels))]


@breaks("leaves_the_model")
@component("probe", version=1)
def leaves_a_gradient(model, images, labels, streams):
    """It leaves a gradient in a weight."""
    weight = next(model.classifier.parameters())
    weight.grad = torch.ones_like(weight)
    return [Measure("lead", lead(model, images, labels))]


@breaks("leaves_the_model")
@component("probe", version=1)
def trains_the_model(model, images, labels, streams):
    """It leaves the model in training mode."""
    model.classifier.train()
    return [Measure("lead", lead(model, images, labels))]


@breaks("leaves_what_it_is_given")
@component("probe", version=1)
def writes_images(model, images, labels, streams):
    """It brightens the images in place."""
    return [Measure("lead", lead(model, images.mul_(0.5), labels))]


@breaks("leaves_torchs_generator")
@component("probe", version=1)
def gambler(model, images, labels, streams):
    """It draws from torch's own generator."""
    torch.rand(1)
    return [Measure("lead", lead(model, images, labels))]


@breaks("leaves_torchs_generator")
@component("probe", version=1)
def borrower(model, images, labels, streams):
    """It draws from torch's own generator, and puts it back."""
    with torch.random.fork_rng([]):
        images = images + 0.1 * torch.rand_like(images)
    return [Measure("lead", lead(model, images, labels))]


@breaks("repeats_itself")
@component("probe", version=1)
def dicing(model, images, labels, streams):
    """It draws from Python's generator."""
    return [Measure("lead", lead(model, images, labels) + random.random())]


@breaks("takes_any_shape")
@component("probe", version=1)
def knows_one_shape(model, images, labels, streams):
    """It takes images for grey ones of 6x6 pixels."""
    return [Measure("lead", lead(model, images, labels)), Measure("ink", images.view(-1, 36).mean(1))]


@breaks("measures_nothing_of_no_sample")
@component("probe", version=1)
def silent_without_samples(model, images, labels, streams):
    """Where there are no samples it says nothing."""
    return [Measure("lead", lead(model, images, labels))] if len(images) else []


@breaks("leaves_no_hook_where_the_model_fails")
@component("probe", version=1)
def hooked(model, images, labels, streams):
    """It takes its hook out of the model after the pass, but not where the pass fails."""
    hook = model.classifier.activations[0].register_forward_hook(lambda *_: None)
    found = lead(model, images, labels)
    hook.remove()
    return [Measure("lead", found)]


@breaks("is_the_same_in_any_batch")
@component("probe", version=1)
def centred(model, images, labels, streams):
    """It takes the average of the batch away."""
    found = lead(model, images, labels)
    return [Measure("lead", found - found.mean())]


@breaks("is_the_same_in_any_batch")
@component("probe", version=1)
def draws_by_position(model, images, labels, streams):
    """It draws for the place in the batch, and not for the sample."""
    drawn = torch.rand(len(images), generator=torch.Generator().manual_seed(0))
    return [Measure("lead", lead(model, images, labels) + drawn)]


@breaks("is_the_same_in_any_batch")
@component("probe", version=1)
def says_more_of_many(model, images, labels, streams):
    """It measures something more if there are more than ten images."""
    found = lead(model, images, labels)
    return [Measure("lead", found), *([Measure("half", found / 2)] if len(images) > 10 else [])]


@breaks("measures_a_model_that_draws")
@component("probe", version=1)
def centred_where_it_draws(model, images, labels, streams):
    """Where the model draws it takes the average of the batch away."""
    found = lead(model, images, labels)
    return [Measure("lead", found - found.mean() if is_stochastic(model.classifier) else found)]


@breaks("perturbs_for_its_source")
@component("probe", version=1, sourced=True)
def ignores_its_source(model, images, labels, streams, source):
    """It perturbs images for the model, and never looks at its source."""
    gradient, _ = model.ascent(images, labels)
    return [Measure("lead", lead(model, (images + 0.05 * gradient.sign()).clamp(0, 1), labels))]
