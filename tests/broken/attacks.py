"""Attacks that break one promise each. All are variations of `good`: one step along the sign of the gradient."""

import random

import torch

from broken.mark import breaks, keeps
from tasks.registry import component


def stepped(model, images, labels, budget):
    gradient, _ = model.ascent(images, labels)
    return (images + budget.eps * gradient.sign()).clamp(*model.box), torch.ones_like(labels)


def drawn(model, images, budget, streams, step=0):
    """The corner of the ball that a coin for each pixel chooses."""
    coins = streams.uniform("corner", step, tuple(images.shape[1:]), images.dtype)
    return (images + budget.eps * (2 * (coins < 0.5) - 1)).clamp(*model.box)


def towards(model, images, budget, rise):
    """A step along the sign of the gradient of `rise(scores)`."""
    leaf = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(rise(model(leaf)).sum(), leaf)
    return (images + budget.eps * gradient.sign()).clamp(*model.box)


def nudged(images, model, budget):
    """Images whose neighbours in the batch have a part in where they go."""
    return (images + 0.5 * budget.eps * (images - images.mean(0)).sign()).clamp(*model.box)


@keeps
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box",
           targeting=("untargeted", "targeted"))  # fmt: skip
def good(model, images, labels, budget, streams):
    """One step along the sign of the gradient."""
    return stepped(model, images, labels, budget)


@keeps
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="score", targeting=("targeted", "untargeted"))
def good_at_random(model, images, labels, budget, streams):
    """Corners of the ball at random, until one fools."""
    best, steps, active = images.clone(), torch.zeros_like(labels), torch.arange(len(labels))
    for step in range(20):
        best[active] = drawn(model, images[active], budget, streams.at(active), step)
        steps[active] += 1
        seen = model.at(active)
        active = active[~seen.fooled(seen(best[active]), labels[active])]
        if len(active) == 0:
            break
    return best, steps


@breaks("gives_images_and_steps")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def misshapen(model, images, labels, budget, streams):
    """It returns images without their last row."""
    return images[:, :, :-1], torch.ones_like(labels)


@breaks("gives_images_and_steps")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def mistyped(model, images, labels, budget, streams):
    """It returns images in half precision."""
    return images.half(), torch.ones_like(labels)


@breaks("gives_images_and_steps")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def double(model, images, labels, budget, streams):
    """It returns float64 whatever it is given."""
    return images.double(), torch.ones_like(labels)


@breaks("gives_images_and_steps")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def stepless(model, images, labels, budget, streams):
    """It says nothing of its steps."""
    return images, None


@breaks("gives_images_and_steps")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def counts_all_steps(model, images, labels, budget, streams):
    """It returns one number of steps for the batch."""
    return images, torch.tensor(1)


@breaks("gives_images_and_steps")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def steps_backwards(model, images, labels, budget, streams):
    """It returns a number of steps below 0."""
    return images, torch.full_like(labels, -1)


@breaks("gives_images_and_steps")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def torn(model, images, labels, budget, streams):
    """It returns an image that is NaN in one pixel."""
    images = images.clone()
    images[1, 0, 2, 2] = torch.nan
    return images, torch.ones_like(labels)


@breaks("gives_images_and_steps")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def calls_for_one(model, images, labels, budget, streams):
    """It calls the model with the first image alone, without `model.at`."""
    model(images[:1])
    return stepped(model, images, labels, budget)


@breaks("leaves_what_it_is_given")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def writes_images(model, images, labels, budget, streams):
    """It works on the images in place."""
    found, steps = stepped(model, images, labels, budget)
    return images.copy_(found), steps


@breaks("leaves_what_it_is_given")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def writes_labels(model, images, labels, budget, streams):
    """It counts the labels from 1, in place."""
    found = stepped(model, images, labels, budget)
    labels += 1
    return found


@breaks("leaves_the_model")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def changes_weights(model, images, labels, budget, streams):
    """It doubles a weight."""
    next(model.classifier.parameters()).data.mul_(2)
    return stepped(model, images, labels, budget)


@breaks("leaves_the_model")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def leaves_a_gradient(model, images, labels, budget, streams):
    """It leaves a gradient in a weight."""
    weight = next(model.classifier.parameters())
    weight.grad = torch.ones_like(weight)
    return stepped(model, images, labels, budget)


@breaks("leaves_the_model")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def trains_the_model(model, images, labels, budget, streams):
    """It leaves the model in training mode."""
    model.classifier.train()
    return stepped(model, images, labels, budget)


@breaks("leaves_the_model")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def asks_for_gradients(model, images, labels, budget, streams):
    """It leaves the weights asking for gradients."""
    model.classifier.requires_grad_(True)
    return stepped(model, images, labels, budget)


@breaks("leaves_torchs_generator")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def gambler(model, images, labels, budget, streams):
    """It draws from torch's own generator."""
    torch.rand(1)
    return stepped(model, images, labels, budget)


@breaks("leaves_torchs_generator")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def borrower(model, images, labels, budget, streams):
    """It draws from torch's own generator, and puts it back."""
    with torch.random.fork_rng([]):
        images = (images + 0.5 * budget.eps * torch.rand_like(images)).clamp(*model.box)
    return images, torch.ones_like(labels)


@breaks("repeats_itself")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def dicing(model, images, labels, budget, streams):
    """It draws from Python's generator."""
    found, steps = stepped(model, images, labels, budget)
    return images + random.random() * (found - images), steps


@breaks("attacks")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def idle(model, images, labels, budget, streams):
    """It returns the clean images."""
    return images, torch.ones_like(labels)


@breaks("attacks")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def absent(model, images, labels, budget, streams):
    """It finds nothing for any image."""
    return torch.full_like(images, torch.nan), torch.ones_like(labels)
