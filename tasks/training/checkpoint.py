"""The state of an unfinished training, as bytes from which it goes on as if it had never stopped.

Tensors as safetensors, the rest as JSON in its header: nothing is unpickled. Knows nothing of where they are kept.
"""

import json
from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.optim import SGD, Optimizer

from tasks.training.history import History, Row
from tasks.training.keeping import Keeping
from tasks.training.step import Step
from tasks.types import StateError

_FACTS = "facts"
_HEADER = 8


def pack(step: Step, keeping: Keeping, history: History) -> bytes:
    """All of a training's state. Random draws have none: they are functions of seed and epoch."""
    parts = {"model": step.model.state_dict(), "best": keeping.best, "optimizer": _remembered(step.optimizer)}
    tensors = {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
    facts = json.dumps({"rows": history, "scaler": step.scaler})
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, {_FACTS: facts})


def unpack(state: bytes, step: Step, keeping: Keeping) -> list[Row]:
    """The history of a training, whose state is put into a step, its model and optimizer, and what is kept.

    All of it or nothing. Raises StateError where it is torn, or of a training of another model or with another
    optimizer.
    """
    try:
        tensors = load(state)
        header = json.loads(state[_HEADER : _HEADER + int.from_bytes(state[:_HEADER], "little")])
        facts = json.loads(header["__metadata__"][_FACTS])
        rows, scaler = list(facts["rows"]), facts["scaler"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"the state of an unfinished training cannot be read: {error}") from error
    weights, kept, remembered = step.model.state_dict(), _under("best", tensors), _under("optimizer", tensors)
    _refuse_foreign("model", weights, _under("model", tensors))
    _refuse_foreign("best", weights if kept else {}, kept)
    _refuse_foreign("optimizer", _expected(step.optimizer, remembered), remembered)
    step.model.load_state_dict(_under("model", tensors))
    keeping.best = {name: tensor.to(weights[name].device) for name, tensor in kept.items()}
    _remind(step.optimizer, remembered)
    step.resume(scaler)
    return rows


def _weights(optimizer: Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _remembered(optimizer: Optimizer) -> dict[str, Tensor]:
    """What goes from one step to the next, by the number of its weight and its name."""
    return {
        f"{number}.{name}": value
        for number, weight in enumerate(_weights(optimizer))
        for name, value in optimizer.state.get(weight, {}).items()
        if isinstance(value, Tensor)
    }


def _remind(optimizer: Optimizer, remembered: Mapping[str, Tensor]) -> None:
    """Put back what `_remembered` gave."""
    weights = _weights(optimizer)
    for name, tensor in remembered.items():
        number, _, key = name.partition(".")
        weight = weights[int(number)]
        # What is remembered of a weight lies in memory as the weight does: a fused step walks through both at once.
        alike = tensor.shape == weight.shape
        optimizer.state[weight][key] = torch.empty_like(weight).copy_(tensor) if alike else tensor.to(weight.device)


def _expected(optimizer: Optimizer, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What an optimizer that has made steps remembers: nothing of a weight that has never had a gradient."""
    had = {int(name.partition(".")[0]) for name in found}
    names = ["exp_avg", "exp_avg_sq", "step"]
    if isinstance(optimizer, SGD):
        names = ["momentum_buffer"] if optimizer.defaults["momentum"] else []
    weights = _weights(optimizer)
    return {
        f"{number}.{name}": torch.zeros(()) if name == "step" else weight
        for number, weight in enumerate(weights)
        for name in names
        if number in had or not had
    }


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _refuse_foreign(part: str, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """The same names, shapes and types."""
    one, other = ({name: (t.shape, t.dtype) for name, t in tensors.items()} for tensors in (expected, found))
    if wrong := sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name)):
        raise StateError(
            f"the state of an unfinished training is of another one: its {part} differs in {', '.join(wrong[:5])}"
        )
