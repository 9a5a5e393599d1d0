"""What every part of a model promises, whether it is an activation, a body, a head or a defense's changes to it all."""

import copy

import torch
from torch import Tensor

from tasks.contracts.bench import Part, loss_of, parts
from tasks.contracts.intact import left_alone, left_generator
from tasks.contracts.subject import Subject, UnaskedError, require
from tasks.contracts.toys import patterns
from tasks.model import Classifier
from tasks.noise import is_stochastic


def leaves_its_inputs_alone(subject: Subject) -> None:
    """What it is given is as it was when it is done, in training and in evaluation."""
    for part in parts(subject):
        for training in (True, False):
            before = part.inputs.clone()
            part.module.train(training)(part.inputs)
            require(torch.equal(part.inputs, before), "it changed what it was given")


def evaluates_without_a_trace(subject: Subject) -> None:
    """Evaluating changes nothing in it: neither a weight nor a statistic, and not its mode."""
    for part in parts(subject):
        with left_alone(part.module):
            part.seen()


def draws_if_it_says_so(subject: Subject) -> None:
    """It draws numbers when it evaluates if it is declared stochastic and says so, and only then."""
    declared, drew = subject.draws, False
    for part in parts(subject):
        says = is_stochastic(part.module)
        require(says == declared, f"its module says {_drawing(says)}, but it is declared to {_drawing(declared)}")
        if declared:
            drew |= any(not torch.equal(part.seen(key="0"), part.seen(key=f"{number}")) for number in range(1, 9))
            continue
        with left_generator():
            first = part.seen(key="0")
        require(
            torch.equal(first, part.seen(key="1")), "evaluated twice, it gives two things, but is declared not to draw"
        )
    require(drew == declared, "it is declared to draw, but gives the same whatever is drawn")


def draws_for_the_sample(subject: Subject) -> None:
    """What it draws belongs to the sample and the pass: none of it comes from torch's own generator."""
    if not subject.draws:
        raise UnaskedError("it draws nothing when it evaluates")
    for part in parts(subject):
        with left_generator():
            first = part.seen()
        require(torch.equal(first, part.seen()), "with the same draws it gives two things")


def is_the_same_in_any_batch(subject: Subject) -> None:
    """What it makes of a sample does not depend on what shares its batch, nor on the order."""
    for part in parts(subject):
        whole, count = part.seen(), len(part.inputs)
        alone = torch.cat([part.seen(part.inputs[row : row + 1], rows=torch.tensor([row])) for row in range(count)])
        order = torch.arange(count - 1, -1, -1)
        _close(alone, whole, "alone than among others")
        _close(part.seen(part.inputs[order], rows=order)[order], whole, "in another order")


def is_whole_in_its_state(subject: Subject) -> None:
    """A copy of it, and another one that is given its state, compute what it does."""
    for part, other in zip(parts(subject), parts(subject, seed=1), strict=True):
        with torch.no_grad():
            for parameter in part.module.parameters():
                parameter.mul_(0.5)
        part.module.train()(part.inputs)
        duplicate = copy.deepcopy(part.module).eval()
        part.module.eval()
        other.module.load_state_dict(part.module.state_dict())
        require(torch.equal(Part(duplicate, part.inputs).seen(), part.seen()), "a copy of it computes something else")
        require(torch.equal(other.seen(), part.seen()), "with its state, another one computes something else")


def passes_gradients_on(subject: Subject) -> None:
    """A gradient gets through it to its inputs, finite and not all zero, in training and in evaluation."""
    for part in parts(subject):
        for training in (True, False):
            leaf = part.inputs.clone().requires_grad_()
            made: Tensor = part.module.train(training)(leaf)
            require(made.requires_grad, "what it makes has no gradient")
            (gradient,) = torch.autograd.grad(made.square().sum(), leaf, allow_unused=True)
            require(gradient is not None, "no gradient reaches its inputs")
            require(gradient.isfinite().all(), "its gradient is not finite")
            require(gradient.abs().sum() > 0, "its gradient is zero everywhere")


def trains_alike_whatever_matters_later(subject: Subject) -> None:
    """A parameter that is declared to matter when the model is evaluated changes nothing of the training."""
    if not subject.facts.evaluation:
        raise UnaskedError("it declares no such parameter")
    for name in subject.facts.evaluation:
        require(name in subject.parameters, f"it declares {name!r} to matter in evaluation, but has no such parameter")
        usual = _training(subject)
        for value in subject.others(name):
            same = all(
                torch.equal(one, other)
                for one, other in zip(usual, _training(subject.having(**{name: value})), strict=True)
            )
            require(same, f"with {name} = {value!r} it trains otherwise")


def _training(subject: Subject) -> list[Tensor]:
    """What a pass of a training comes to: its value, its gradients and the state that it begins with."""
    found: list[Tensor] = []
    for part in parts(subject):
        module, state = part.module.train(), [value.clone() for value in part.module.state_dict().values()]
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            if isinstance(module, Classifier):
                labels = patterns(len(part.inputs), seed=1).labels
                value = loss_of(subject.make(), module)(module, part.inputs, labels)[0]
            else:
                value = module(part.inputs.requires_grad_()).square().sum()
            value.backward()  # type: ignore[no-untyped-call]
        gradients = [torch.zeros(()) if each.grad is None else each.grad for each in module.parameters()]
        found += [value.detach(), *state, *gradients]
    return found


def _close(found: Tensor, due: Tensor, how: str) -> None:
    """As near as rounding of the type lets two ways to the same sum be."""
    rtol, atol = (1e-3, 1e-4 * float(due.abs().max())) if due.dtype == torch.float32 else (1e-9, 1e-12)
    require(
        found.shape == due.shape and torch.allclose(found, due, rtol=rtol, atol=atol), f"it gives another thing {how}"
    )


def _drawing(draws: bool) -> str:
    return "draw numbers" if draws else "draw none"


PART_PROMISES = (
    leaves_its_inputs_alone,
    evaluates_without_a_trace,
    draws_if_it_says_so,
    draws_for_the_sample,
    is_the_same_in_any_batch,
    is_whole_in_its_state,
    passes_gradients_on,
    trains_alike_whatever_matters_later,
)
"""In the order in which they are asked."""
