"""What an attack promises. The models that it is tried on are small, and known where that matters."""

from collections.abc import Callable

import torch
from torch import Tensor

from tasks.contracts.attack_rows import (
    asks_about_finite_images,
    attacks_a_model_that_draws,
    is_the_same_in_any_batch,
    knows_its_norms,
    minds_no_misclassified_sample,
    moves_pixels_at_the_ends_of_the_box,
    rounds_alike_in_a_fixed_batch,
    stops_where_scores_are_not_finite,
    takes_any_shape,
    takes_one_sample,
)
from tasks.contracts.attacking import Call, budget_of, called, predicted, scores_of, state_of
from tasks.contracts.declared import prepares_as_declared, read_as_declared, says_what_it_is
from tasks.contracts.intact import left_alone, left_generator, whatever_the_generator
from tasks.contracts.subject import Subject, UnaskedError, require
from tasks.contracts.toys import conv_net, deep_net, linear, pixels
from tasks.contracts.watched import Bent, Low, Watched
from tasks.metrics import distances, margins


def gives_images_and_steps(subject: Subject) -> None:
    """Images come back as they were given, in shape and type, with a whole number of steps, 0 or more, for each."""
    for images in (pixels(4), pixels(4, dtype=torch.float32)):
        call = called(subject, images)
        require((call.steps >= 0).all(), f"it says that it made {int(call.steps.min())} steps")


def leaves_what_it_is_given(subject: Subject) -> None:
    """The images, the labels and the prepared state that it is given are as they were when it is done."""
    model, images = conv_net(), pixels(4)
    state = state_of(subject, model, budget_of(subject), images)
    before = None if state is None else {name: tensor.clone() for name, tensor in state.items()}
    call = called(subject, images, model, state=state)
    require(torch.equal(call.given[0], call.inputs), "it changed the images that it was given")
    require(torch.equal(call.given[1], call.labels), "it changed the labels that it was given")
    for name, tensor in (before or {}).items():
        require(state is not None and torch.equal(state[name], tensor), f"it changed {name} of its prepared state")


def leaves_the_model(subject: Subject) -> None:
    """The model is bit for bit as it was: weights, gradients, and in which mode."""
    called(subject, pixels(4), held=left_alone)


def leaves_torchs_generator(subject: Subject) -> None:
    """It neither moves torch's own generator nor depends on where that is."""
    model = conv_net()
    with left_generator():
        called(subject, pixels(4), model)
    first, second = whatever_the_generator(lambda: called(subject, pixels(4), model))
    require(_same(first, second), "what it returns depends on torch's own generator")


def repeats_itself(subject: Subject) -> None:
    """The same call gives the same images, in pixels and in standardised units."""
    model = conv_net()
    for space in ("pixel", "standardised"):
        budget = budget_of(subject, space=space)
        first, second = (called(subject, pixels(6), model, budget) for _ in range(2))
        require(_same(first, second), f"called twice on the same images, in {space} units, it returned two things")


def keeps_its_budget(subject: Subject) -> None:
    """It keeps the budget that it is given: in every norm, in pixels and standardised units, in a box and without."""
    if subject.facts.budget == "minimal":
        raise UnaskedError("it looks for the nearest adversarial point, and has no budget to keep")
    if budget_of(subject).beyond == "allowed":
        raise UnaskedError("with these parameters it is declared to leave its budget")
    ends = torch.cat([pixels(4), pixels(4).round()])
    for norm in subject.facts.norms:
        for space in ("pixel", "standardised"):
            for box in (True, False):
                budget = budget_of(subject, norm, space=space, box=box)
                call = called(subject, ends, budget=budget)
                where = f"a budget in {norm}, {space} units, {'in' if box else 'without'} a box"
                far = float(distances(call.images, call.inputs)[norm].max())
                require(
                    far <= (budget.eps or 0) * (1 + 1e-4) + 1e-6, f"{where}: {far:.4g} is over its eps {budget.eps}"
                )
                low, high = call.model.box
                out = float(torch.maximum(low - call.images, call.images - high).max())
                require(out <= 1e-5, f"{where}: it left the box by {out:.4g}")


def attacks(subject: Subject) -> None:
    """It attacks: of images near a boundary it changes the prediction of some, as it is asked to."""
    near = 0.4 + 0.2 * pixels(12)
    for model in (linear(3), conv_net(), deep_net(activation=Low)):
        call = called(subject, near, model, budget_of(subject, times=6))
        if bool((call.there & _reached(call, predicted(model, call.images))).any()):
            return
    require(False, "no image of any model was fooled")


def aims_where_it_is_told(subject: Subject) -> None:
    """It aims where it is told: nearer to a class when that is the target than when another is, and it gets there."""
    if "targeted" not in subject.facts.targeting:
        raise UnaskedError("it takes no targets")
    model, many = linear(3), 0.4 + 0.2 * pixels(150)
    labels = predicted(model, many)
    near = torch.cat([many[labels == label][:30] for label in range(3)])
    call = called(subject, near, model, budget_of(subject, times=4), targets="all")
    if call.targets is None or not bool(call.there.any()):
        raise UnaskedError("nothing came back of any image of a linear model")
    scores, aims = scores_of(model, call.images).view(len(near), 2, 3), call.targets.view(len(near), 2)
    for pair in ((0, 1), (0, 2), (1, 2)):
        told = scores[(aims == torch.tensor(pair)).all(1)]
        _aims_at(told, pair[0])
        _aims_at(told.flip(1), pair[1])


def _aims_at(scores: Tensor, target: int) -> None:
    """Of each image the scores where the target was aimed at, and where another class was, (n, 2, classes)."""
    aim = torch.full((len(scores),), target)
    ahead = (margins(scores[:, 0], aim) - margins(scores[:, 1], aim)).sign()
    chance = 1.5 * float(ahead.abs().sum()) ** 0.5
    require(ahead.sum() > chance, f"it comes no nearer to class {target} where that is its target")
    require((scores[:, 0].argmax(1) == target).any(), f"no image was made class {target}, which all can be")


def sees_what_it_declares(subject: Subject) -> None:
    """It sees no more than it declares: gradients, scores, predictions, or nothing at all."""
    knowledge, images = subject.facts.knowledge, pixels(6)
    if knowledge == "white-box":
        raise UnaskedError("it may see everything")
    model, state = Watched(), state_of(subject, conv_net(), budget_of(subject), images)
    call = called(subject, images, model, state=state)
    own = model.rows - len(images)
    require(knowledge != "none" or not own, "it declares to know nothing of the model, but asks it")
    require(not model.differentiated, f"it declares to see {knowledge}, but takes a gradient")
    if knowledge == "decision":
        other = called(subject, images, Bent(), state=state)
        require(_same(call, other), "it declares to see predictions, but other scores of the same order change it")


def looks_through_what_it_is_given(subject: Subject) -> None:
    """It looks at the model through what it is given, so that each pass is counted for the sample it is of."""
    model, images = Watched(), pixels(6)
    state = state_of(subject, model, budget_of(subject), images)
    before = model.rows
    call = called(subject, images, model, state=state)
    passes = model.rows - before - len(images)
    counted = int(call.model.forwards.sum())
    require(passes == counted, f"the model was asked {passes} times, of which {counted} are counted")


def prepares_the_same_again(subject: Subject) -> None:
    """What it prepares is tensors, and the same each time."""
    if not subject.facts.prepared:
        raise UnaskedError("it has nothing to prepare")
    first, second = whatever_the_generator(lambda: state_of(subject, conv_net(), budget_of(subject), pixels(1)) or {})
    require(first, "it prepared nothing")
    require(all(isinstance(value, Tensor) for value in first.values()), "it prepared something that is no tensor")
    same = first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    require(same, "prepared twice from the same images, it is two things")


def _reached(call: Call, seen: Tensor) -> Tensor:
    """Whether what the model sees is what the attack was asked for, (n,)."""
    return seen != call.labels if call.targets is None else seen == call.targets


def _same(first: Call, second: Call) -> bool:
    return torch.equal(first.images, second.images) and torch.equal(first.steps, second.steps)


PROMISES: tuple[Callable[[Subject], None], ...] = (
    read_as_declared,
    says_what_it_is,
    prepares_as_declared,
    gives_images_and_steps,
    leaves_what_it_is_given,
    leaves_the_model,
    repeats_itself,
    leaves_torchs_generator,
    attacks,
    aims_where_it_is_told,
    sees_what_it_declares,
    takes_one_sample,
    takes_any_shape,
    knows_its_norms,
    keeps_its_budget,
    stops_where_scores_are_not_finite,
    looks_through_what_it_is_given,
    is_the_same_in_any_batch,
    rounds_alike_in_a_fixed_batch,
    minds_no_misclassified_sample,
    moves_pixels_at_the_ends_of_the_box,
    attacks_a_model_that_draws,
    asks_about_finite_images,
    prepares_the_same_again,
)
"""In the order in which they are asked: what needs little comes first."""
