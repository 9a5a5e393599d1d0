"""What an attack must leave as it was: the model, and torch's own generator. Undone and refused if it does not."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tasks.types import AttackError


@contextmanager
def intact(model: nn.Module, attack: str) -> Iterator[None]:
    """Undo whatever an attack changes in a frozen model or in torch's generator of the CPU.

    Raises AttackError, naming the attack, if it changed anything. A draw from torch's generator is one that depends on
    what else was drawn before, and so on batch and worker.
    """
    before = {name: (tensor, tensor.detach().clone(), tensor.grad) for name, tensor in _tensors(model)}
    generator = torch.random.get_rng_state()
    changed: list[str] = []
    try:
        yield
    finally:
        changed += [f"requires_grad of {name}" for name, tensor in _tensors(model) if tensor.requires_grad]
        changed += [f"mode of {type(module).__name__}" for module in model.modules() if module.training]
        for name, (tensor, values, gradient) in before.items():
            if not torch.equal(tensor, values):
                changed.append(name)
                tensor.data.copy_(values)
            if tensor.grad is not gradient:
                changed.append(f"gradient of {name}")
                tensor.grad = gradient
        drawn = not torch.equal(torch.random.get_rng_state(), generator)
        torch.random.set_rng_state(generator)
    if changed:
        raise AttackError(f"{attack} changed the model: {', '.join(changed[:5])}")
    if drawn:
        raise AttackError(f"{attack} drew from torch's own generator: its draws must come from the samples' streams")


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]
