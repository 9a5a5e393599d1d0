"""Attacks that break one promise each: of what a sample's batch, its place there and its values may change."""

import torch

from broken.attacks import nudged, stepped
from broken.mark import breaks
from tasks.noise import is_stochastic
from tasks.registry import component


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
