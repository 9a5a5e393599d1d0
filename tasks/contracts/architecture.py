"""What an architecture promises: a body that makes features of images, with activations that are the cell's."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tasks.activations._every import Places
from tasks.contracts.bench import CPU, body_of, drawn_body, parts, shape_of
from tasks.contracts.declared import read_as_declared, says_what_it_is
from tasks.contracts.part import PART_PROMISES
from tasks.contracts.subject import Subject, UnaskedError, require
from tasks.contracts.toys import seeded
from tasks.model import seeded as drawing_from
from tasks.refusals import widths


def gives_features_of_its_width(subject: Subject) -> None:
    """Images become finite features, (batch, width), and it says their width."""
    for part in parts(subject):
        made, width = part.seen(), getattr(part.module, "width", None)
        require(isinstance(width, int), f"its width is {width}, not a whole number")
        require(made.shape == (len(part.inputs), width), f"its features are {tuple(made.shape)}, and its width {width}")
        require(made.isfinite().all(), "its features are not finite")


def tells_images_apart(subject: Subject) -> None:
    """Different images have different features."""
    for part in parts(subject):
        require(part.seen().std(dim=0).max() > 0, "its features are the same for every image")


def uses_a_fresh_activation_at_each_place(subject: Subject) -> None:
    """It asks for an activation of its own for each place, uses each once in a pass, and has no other."""
    numbers, used = itertools.count(), list[int]()

    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.number = next(numbers)

        def forward(self, net: Tensor) -> Tensor:
            used.append(self.number)
            return torch.tanh(net)

    shape = shape_of(subject)
    body = body_of(subject, shape, Counted).eval()
    with torch.no_grad():
        body(torch.rand(1, *shape, generator=seeded(3)))
    require(sorted(used) == list(range(next(numbers))), "an activation that it asked for is used not once in a pass")
    own = [module for module in body.modules() if isinstance(module, nn.ReLU | nn.ReLU6)]
    require(not own, f"it has an activation that is not the cell's: {own[:1]}")


def knows_its_widths(subject: Subject) -> None:
    """If it says how many units or channels there are at its activations, place by place, there are so many."""
    shape = shape_of(subject)
    said = widths(subject.component, shape, foreign=True)
    if said is None:
        raise UnaskedError("it does not say them")

    found: dict[nn.Module, int] = {}

    class Measured(nn.Module):
        def forward(self, net: Tensor) -> Tensor:
            found[self] = net.shape[1]
            return torch.tanh(net)

    places = Places(Measured)
    body = body_of(subject, shape, places).eval()
    with torch.no_grad():
        body(torch.rand(1, *shape, generator=seeded(3)))
    seen = [found[place] for place in places.made]
    require(list(said) == seen, f"it says {list(said)}, but there are {seen}")


def keeps_what_its_activations_make(subject: Subject) -> None:
    """It writes nothing into what an activation made, of which the gradient may need it."""
    shape = shape_of(subject)
    body = body_of(subject, shape, nn.Sigmoid)
    images = torch.rand(2, *shape, generator=seeded(3)).requires_grad_()
    for training in (True, False):
        (gradient,) = torch.autograd.grad(body.train(training)(images).square().sum(), images)
        require(gradient.isfinite().all() and gradient.abs().sum() > 0, "no gradient reaches the images")


def draws_its_weights_from_the_seed(subject: Subject) -> None:
    """Its weights are those of the seed: the same of the same, others of another."""
    first, other = (drawn_body(subject, seed).state_dict() for seed in (0, 1))
    with drawing_from(0, CPU):
        second = body_of(subject, shape_of(subject)).state_dict()
    require(all(torch.equal(first[name], second[name]) for name in first), "of one seed it has two sets of weights")
    same = all(torch.equal(first[name], other[name]) for name in first)
    require(not first or not same, "it has the same weights whatever the seed")


PROMISES: tuple[Callable[[Subject], None], ...] = (
    read_as_declared,
    says_what_it_is,
    gives_features_of_its_width,
    tells_images_apart,
    uses_a_fresh_activation_at_each_place,
    knows_its_widths,
    keeps_what_its_activations_make,
    draws_its_weights_from_the_seed,
    *PART_PROMISES,
)
"""In the order in which they are asked: what needs little comes first."""
