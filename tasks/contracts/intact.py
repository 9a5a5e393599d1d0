"""What a component must leave as it was: a model, tensors, torch's own generator. Seen from outside, and not undone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from tasks.contracts.subject import require

Made = TypeVar("Made")
Held: TypeAlias = Callable[[nn.Module], AbstractContextManager[object]]
"""What something is called inside of, made for a model."""

_NOBODYS = 0x5EED_0F_40B0D7
"""A seed that no component has set before."""


@contextmanager
def left_alone(model: nn.Module, **tensors: Tensor) -> Iterator[None]:
    """Raise BrokenPromiseError if what is inside changes the model, its hooks, or one of the tensors."""
    before, copies = _state(model), {name: tensor.clone() for name, tensor in tensors.items()}
    yield
    after = _state(model)
    require(
        before.keys() == after.keys(), f"it left the model with others of its parts: {before.keys() ^ after.keys()}"
    )
    for name, (found, gradient, *rest) in before.items():
        same = torch.equal(found, after[name][0]) and gradient is after[name][1] and rest == list(after[name][2:])
        require(same, f"it changed {name} of the model")
    for name, tensor in tensors.items():
        require(torch.equal(tensor, copies[name]), f"it changed the {name}")


def _state(model: nn.Module) -> dict[str, tuple[Tensor, Tensor | None, bool, int]]:
    """What a model is, by name: values, gradient, mode or flag, and number of hooks."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    found = {name: (tensor.detach().clone(), tensor.grad, tensor.requires_grad, 0) for name, tensor in tensors}
    for name, module in model.named_modules():
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)  # noqa: SLF001 - no other way
        found[f"the mode or the hooks of {name or 'all'}"] = (
            torch.zeros(0),
            None,
            module.training,
            sum(map(len, hooks)),
        )
    return found


@contextmanager
def left_generator() -> Iterator[None]:
    """Raise BrokenPromiseError if what is inside moves torch's own generator."""
    with torch.random.fork_rng([]):
        torch.manual_seed(_NOBODYS)
        before = torch.random.get_rng_state()
        yield
        moved = not torch.equal(torch.random.get_rng_state(), before)
    require(not moved, "it drew from torch's own generator, or seeded it")


def whatever_the_generator(make: Callable[[], Made]) -> tuple[Made, Made]:
    """What is made with torch's own generator in one place, and in another."""
    with torch.random.fork_rng([]):
        made = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            made.append(make())
    return made[0], made[1]
