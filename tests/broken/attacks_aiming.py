"""Attacks that break one promise each: of where they aim, of what they see, of how far they go."""

import torch

from broken.attacks import drawn, stepped, towards
from broken.mark import breaks
from tasks.metrics import margins
from tasks.registry import component


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


@breaks("asks_about_finite_images")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def divides_by_no_gradient(model, images, labels, budget, streams):
    """It divides by the length of the gradient, and asks about what comes of that where there is none."""
    gradient, _ = model.ascent(images, labels)
    length = gradient.abs().amax((1, 2, 3), keepdim=True)
    ahead = (images + budget.eps * gradient.sign() * length / length).clamp(*model.box)
    with torch.no_grad():
        model(ahead)
    return ahead, torch.ones_like(labels)


@breaks("looks_through_what_it_is_given")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="score")
def peeps(model, images, labels, budget, streams):
    """It asks the model itself, so that no pass is counted."""
    return peeked(model, images, labels, budget, streams, torch.tensor(True))
