"""What an activation promises: it works on each unit, or on blocks of them, and stays finite."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tasks.contracts.bench import NETS, parts
from tasks.contracts.declared import read_as_declared, says_what_it_is
from tasks.contracts.part import PART_PROMISES
from tasks.contracts.subject import Subject, UnaskedError, require
from tasks.contracts.toys import seeded


def keeps_shape_and_type(subject: Subject) -> None:
    """What comes out has the shape and the type of what goes in, behind linear layers and convolutions."""
    for shape in NETS:
        for dtype in (torch.float32, torch.float64):
            for training in (False, True):
                net = torch.randn(shape, generator=seeded(3)).to(dtype)
                module = _shaped(subject, net).train(training)
                made = module(net)
                require(made.shape == shape, f"of {shape} it made {tuple(made.shape)}")
                require(made.dtype == dtype, f"of {dtype} it made {made.dtype}")
                others = {parameter.dtype for parameter in module.parameters()} - {dtype}
                require(not others, f"its parameters are {others} where it is given {dtype}")


def works_on_units_or_blocks(subject: Subject) -> None:
    """A unit's output depends on that unit alone, or on the block of neighbours that it declares."""
    block = subject.own[subject.facts.block] if subject.facts.block else 1
    for part in parts(subject):
        for unit in range(part.inputs.shape[1]):
            moved = part.inputs.clone()
            moved[:, unit] += 1.5
            changed = (part.seen(moved) != part.seen()).transpose(0, 1).flatten(1).any(1)
            changed[unit // block * block : (unit // block + 1) * block] = False
            require(not changed.any(), f"unit {unit} changes others than its block of {block}")


def is_finite_at_extremes(subject: Subject) -> None:
    """Outputs and gradients are finite where the net is 0, 1e30 or -1e30, in training and in evaluation."""
    for shape in NETS:
        for training in (False, True):
            chosen = torch.randint(3, shape, generator=seeded(0))
            net = torch.tensor([1e30, -1e30, 0.0])[chosen].requires_grad_()
            module = _shaped(subject, net.detach()).train(training)
            made, penalty = module(1.0 * net), _penalty(module)
            require(made.isfinite().all(), "an output is not finite")
            (made.sum() if penalty is None else made.sum() + penalty).backward()
            for tensor in (net, *module.parameters()):
                require(tensor.grad is not None, "a parameter has no gradient")
                require(tensor.grad is not None and tensor.grad.isfinite().all(), "a gradient is not finite")


def has_a_penalty_that_is_a_number(subject: Subject) -> None:
    """If it adds a penalty to the loss, that is one finite number, and it does not declare that it adds nothing."""
    net = torch.randn(NETS[0], generator=seeded(3))
    module = _shaped(subject, net).train()
    if _penalty(module) is None:
        raise UnaskedError("it has no penalty")
    module(net)
    penalty = _penalty(module)
    require(isinstance(penalty, Tensor) and penalty.shape == (), f"its penalty is {penalty}, not one number")
    require(isinstance(penalty, Tensor) and penalty.isfinite(), "its penalty is not finite")
    is_silent = not subject.facts.adds(subject.own) and getattr(module, "is_penalised", True)
    require(not is_silent, "it declares that it adds nothing to the loss, and has a penalty")


def has_regimes_that_are_masks(subject: Subject) -> None:
    """If it tells linear units from saturated ones, these are masks of the net's shape, no unit in both."""
    for shape in NETS:
        net = 3 * torch.randn(shape, generator=seeded(3))
        module = _shaped(subject, net)
        if not hasattr(module, "regimes"):
            raise UnaskedError("it does not tell linear units from saturated ones")
        linear, saturated = module.regimes(net)
        require(
            (linear.shape, saturated.shape) == (shape, shape), f"its masks are {linear.shape} and {saturated.shape}"
        )
        require({linear.dtype, saturated.dtype} == {torch.bool}, f"its masks are {linear.dtype} and {saturated.dtype}")
        require(not (linear & saturated).any(), "a unit is linear and saturated")
        require(linear.any(), "no unit is linear")


def _shaped(subject: Subject, net: Tensor) -> Any:  # noqa: ANN401 - a module, with what an activation may have
    """It in evaluation mode, its parameters shaped by a first pass."""
    module = subject.make().to(net.dtype).eval()
    module(torch.zeros_like(net[:1]))
    return module


def _penalty(module: Any) -> Tensor | None:  # noqa: ANN401 - as above
    found: Tensor | None = module.penalty() if hasattr(module, "penalty") else None
    return found


PROMISES: tuple[Callable[[Subject], None], ...] = (
    read_as_declared,
    says_what_it_is,
    keeps_shape_and_type,
    *PART_PROMISES,
    works_on_units_or_blocks,
    has_a_penalty_that_is_a_number,
    is_finite_at_extremes,
    has_regimes_that_are_masks,
)
"""In the order in which they are asked: what needs little comes first."""
