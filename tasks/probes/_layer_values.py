"""What the activation modules of a model are given and give out while a batch passes through it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from tasks.counted import CountedModel
from tasks.places import beyond_places, chosen_places
from tasks.refusals import refuse
from tasks.types import TaskError

T = TypeVar("T")


def activation_layers(model: CountedModel, layers: list[int] | None) -> dict[str, nn.Module]:
    """The activation modules of some layers, first to last, under their numbers: "1" is the first.

    `layers` may count from the end, -1 being the last; None is all of them. Raises TaskError for one that there is not.
    """
    modules: list[nn.Module] = model.classifier.activations
    count = len(modules)
    refuse(TaskError, beyond_places(layers, count, "model"))
    return {str(number): modules[number - 1] for number in chosen_places(layers, count)}


@contextmanager
def looking(
    modules: Mapping[str, nn.Module],
    rows: int,
    side: Literal["input", "output"],
    looks: Mapping[str, Callable[[Tensor], T]],
) -> Iterator[dict[str, T]]:
    """Inside, one pass of `rows` images leaves `looks[name](values)` of every module's input or output.

    The pass may come in chunks of which the last is padded: a look gets just the images' rows, all at once, and they
    are let go as soon as it has had them. Raises TaskError at the end for a module that the pass has not met.
    """
    found: dict[str, T] = {}
    parts: dict[str, list[Tensor]] = {name: [] for name in modules}

    def take(name: str, values: Tensor) -> None:
        if name in found:
            return
        # What comes after the module may work in place, on the very tensor.
        parts[name].append(values.detach().clone())
        if sum(len(part) for part in parts[name]) >= rows:
            found[name] = looks[name](torch.cat(parts.pop(name))[:rows])

    handles = [_hook(module, name, side, take) for name, module in modules.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
    if missed := [f"{name} ({type(modules[name]).__name__})" for name in modules if name not in found]:
        raise TaskError(f"activation layers that take no part in a pass of the model: {', '.join(missed)}")


def _hook(
    module: nn.Module, name: str, side: Literal["input", "output"], take: Callable[[str, Tensor], None]
) -> torch.utils.hooks.RemovableHandle:
    if side == "input":  # before the module runs: it may work in place
        return module.register_forward_pre_hook(lambda _, given: take(name, given[0]))
    return module.register_forward_hook(lambda _, __, made: take(name, made))
