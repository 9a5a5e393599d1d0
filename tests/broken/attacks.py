"""Attacks that break one promise each. All are variations of `good`: one step along the sign of the gradient."""

import random

import torch

from broken.mark import breaks, keeps
from tasks.metrics import margins
from tasks.noise import is_stochastic
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


@breaks("aims_where_it_is_told")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box",
           targeting=("untargeted", "targeted"))  # fmt: skip
def deaf(model, images, labels, budget, streams):
    """It steps away from the label whatever the target is."""
    return towards(model, images, budget, lambda scores: -margins(scores, labels)), torch.ones_like(labels)


@breaks("aims_where_it_is_told")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none", targeting=("untargeted", "targeted"))
def deaf_at_random(model, images, labels, budget, streams):
    """It goes somewhere at random, for each target somewhere else."""
    return drawn(model, images, budget, streams), torch.ones_like(labels)


@breaks("aims_where_it_is_told")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box",
           targeting=("untargeted", "targeted"))  # fmt: skip
def deaf_to_some(model, images, labels, budget, streams):
    """It aims at class 0 where that is the target, and away from the label where another is."""
    aimed, steps = stepped(model, images, labels, budget)
    away = towards(model, images, budget, lambda scores: -margins(scores, labels))
    is_zero = torch.zeros_like(labels, dtype=torch.bool) if model.targets is None else model.targets == 0
    return torch.where(is_zero[:, None, None, None], aimed, away), steps


@breaks("aims_where_it_is_told")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box", targeting=("targeted",))
def astray(model, images, labels, budget, streams):
    """It steps away from the target."""
    return towards(model, images, budget, lambda scores: -margins(scores, model.targets)), torch.ones_like(labels)


@breaks("sees_what_it_declares")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def nosy(model, images, labels, budget, streams):
    """It declares to know nothing of the model, and asks which of two images fools it."""
    first, second = (drawn(model, images, budget, streams, step) for step in (0, 1))
    fools = model.fooled(model(first), labels)
    return torch.where(fools[:, None, None, None], first, second), torch.ones_like(labels)


@breaks("sees_what_it_declares")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="score")
def takes_gradients(model, images, labels, budget, streams):
    """It declares to see scores, and takes their gradient."""
    return stepped(model, images, labels, budget)


@breaks("sees_what_it_declares")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="decision")
def takes_gradients_of_decisions(model, images, labels, budget, streams):
    """It declares to see predictions, and takes a gradient."""
    return stepped(model, images, labels, budget)


@breaks("sees_what_it_declares")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="decision")
def reads_scores(model, images, labels, budget, streams):
    """It declares to see predictions, and goes the farther the surer the model is."""
    share = model.margins(model(images), labels).tanh().abs()
    corner = drawn(model, images, budget, streams)
    return images + (0.9 + 0.1 * share[:, None, None, None]) * (corner - images), torch.ones_like(labels)


@breaks("takes_one_sample")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def squeezes(model, images, labels, budget, streams):
    """It loses the first dimension of a batch of one."""
    found, steps = stepped(model, images, labels, budget)
    return (found[0] if len(found) == 1 else found), steps


@breaks("takes_any_shape")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def knows_one_shape(model, images, labels, budget, streams):
    """It takes images for grey ones of 6x6 pixels."""
    found, steps = stepped(model, images, labels, budget)
    return found.view(-1, 1, 6, 6), steps


@breaks("takes_any_shape")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def wants_three_classes(model, images, labels, budget, streams):
    """It looks at the third best class, which two classes do not have."""
    model(images).topk(3, dim=1)
    return stepped(model, images, labels, budget)


@breaks("knows_its_norms")
@component("attack", version=1, norms=("linf", "l2"), budget="eps", knowledge="white-box")
def knows_one_norm(model, images, labels, budget, streams):
    """It names two norms and knows one."""
    if budget.norm != "linf":
        raise NotImplementedError(budget.norm)
    return stepped(model, images, labels, budget)


@breaks("keeps_its_budget")
@component("attack", version=1, norms=("linf", "l2"), budget="eps", knowledge="white-box")
def measures_linf(model, images, labels, budget, streams):
    """It keeps the linf ball where the l2 ball is its budget."""
    return stepped(model, images, labels, budget)


@breaks("keeps_its_budget")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def over_without_a_box(model, images, labels, budget, streams):
    """It goes twice as far where there is no box to stop it."""
    found, steps = stepped(model, images, labels, budget)
    return (found if budget.box else 2 * found - images), steps


@breaks("keeps_its_budget")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def over_in_standardised_units(model, images, labels, budget, streams):
    """It takes an eps in standardised units for one in pixels half as large."""
    found, steps = stepped(model, images, labels, budget)
    far = (images + 2 * (found - images)).clamp(*model.box)
    return (far if budget.space == "standardised" else found), steps


@breaks("keeps_its_budget")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def leaves_the_box(model, images, labels, budget, streams):
    """It keeps to the pixels of [0, 1] in standardised units as well."""
    gradient, _ = model.ascent(images, labels)
    moved = images + budget.eps * gradient.sign()
    return (moved.clamp(*model.box) if budget.space == "pixel" else moved), torch.ones_like(labels)


def peeked(model, images, labels, budget, streams, where_nan):
    """Of some corners one that fools, seen past what counts the passes."""
    best = images.clone()
    for step in range(20):
        candidate = drawn(model, images, budget, streams, step)
        with torch.no_grad():
            scores = model.classifier(model.pixels(candidate))
        fools = torch.where(scores.isnan().any(1), where_nan, scores.argmax(1) != labels)
        best = torch.where(fools[:, None, None, None], candidate, best)
    return best, torch.ones_like(labels)


@breaks("stops_where_scores_are_not_finite")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="score")
def takes_nan_for_robust(model, images, labels, budget, streams):
    """It looks past what counts the passes, and returns the clean image where the scores are NaN."""
    return peeked(model, images, labels, budget, streams, torch.tensor(False))


@breaks("looks_through_what_it_is_given")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="score")
def peeps(model, images, labels, budget, streams):
    """It asks the model itself, so that no pass is counted."""
    return peeked(model, images, labels, budget, streams, torch.tensor(True))


@breaks("is_the_same_in_any_batch")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def neighbourly(model, images, labels, budget, streams):
    """It starts from the average of the batch."""
    moved, steps = stepped(model, images, labels, budget)
    return images + 0.5 * (moved - images) + 0.5 * (nudged(images, model, budget) - images), steps


@breaks("is_the_same_in_any_batch")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="score")
def draws_by_position(model, images, labels, budget, streams):
    """It draws for the place in the batch, and not for the sample."""
    drawn = torch.rand(images.shape, generator=torch.Generator().manual_seed(0), dtype=images.dtype)
    return (images + budget.eps * (2 * (drawn < 0.5) - 1)).clamp(*model.box), torch.ones_like(labels)


@breaks("is_the_same_in_any_batch")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def ignores_at(model, images, labels, budget, streams):
    """It asks about what is left of the batch without `model.at`: the passes count for others."""
    moved, steps = stepped(model, images, labels, budget)
    left = torch.nonzero(~model.fooled(model(moved), labels))[:, 0]
    if len(left) > 0:
        model.at(torch.arange(len(left)))(moved[left])
    return moved, steps


@breaks("is_the_same_in_any_batch")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def goes_on_with_all(model, images, labels, budget, streams):
    """It goes on with the whole batch until no sample is left that is not fooled."""
    moved, steps = stepped(model, images, labels, budget)
    for _ in range(3):
        if bool(model.fooled(model(moved), labels).all()):
            break
    return moved, steps


@breaks("rounds_alike_in_a_fixed_batch")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def rounds_with_its_neighbours(model, images, labels, budget, streams):
    """In float32 it adds up what is not the model's over the whole batch."""
    if images.dtype == torch.float32:
        return nudged(images, model, budget), torch.ones_like(labels)
    return stepped(model, images, labels, budget)


@breaks("minds_no_misclassified_sample")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def wants_them_right(model, images, labels, budget, streams):
    """It takes for granted that every image is classified correctly."""
    if not bool((model.margins(model(images), labels) > 0).all()):
        raise ValueError("the margin of an image is below 0")
    return stepped(model, images, labels, budget)


@breaks("moves_pixels_at_the_ends_of_the_box")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def stuck_at_the_ends(model, images, labels, budget, streams):
    """It moves no pixel that is at an end of the box, as a change of variables does not."""
    moved, steps = stepped(model, images, labels, budget)
    low, high = model.box
    return torch.where((images > low) & (images < high), moved, images), steps


@breaks("attacks_a_model_that_draws")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def averages_draws_of_a_batch(model, images, labels, budget, streams):
    """Where the model draws it averages over the batch."""
    if is_stochastic(model.classifier):
        return nudged(images, model, budget), torch.ones_like(labels)
    return stepped(model, images, labels, budget)
