"""The state of an unfinished training, as bytes from which it goes on as if it had never stopped.

Tensors as safetensors, the rest as JSON in its header: nothing is unpickled. Knows nothing of where they are kept.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.optim import SGD, Optimizer

from tasks.model import Classifier
from tasks.types import StateError

_FACTS = "facts"
_HEADER = 8


@dataclass
class Memory:
    """What a training remembers between epochs, beside weights and the optimizer: plain numbers.

    `epoch` is the last that is done, `rows` are the history; `best_accuracy` is that of the epoch whose weights are
    kept so far, `best_loss` the least validation loss, `waited` the epochs since, `slowed` those since the rate was
    last lowered, `rate` its factor by then, `scaler` the state of the loss scaling in float16.
    """

    epoch: int = 0
    rows: list[dict[str, float | None]] = field(default_factory=list)
    best_accuracy: float = -1.0
    best_loss: float = float("inf")
    waited: int = 0
    slowed: int = 0
    rate: float = 1.0
    scaler: dict[str, Any] | None = None


def pack(model: Classifier, optimizer: Optimizer, best: Mapping[str, Tensor], memory: Memory) -> bytes:
    """All of a training's state. Random draws have none: they are functions of seed and epoch."""
    parts = {"model": model.state_dict(), "best": best, "optimizer": _remembered(optimizer)}
    tensors = {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
    facts = json.dumps(memory.__dict__)
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, {_FACTS: facts})


def unpack(state: bytes, model: Classifier, optimizer: Optimizer, best: dict[str, Tensor]) -> Memory:
    """Put a state into a model, its optimizer and `best`, all of it or nothing.

    Raises StateError where it is torn, or of a training of another model or with another optimizer.
    """
    try:
        tensors = load(state)
        header = json.loads(state[_HEADER : _HEADER + int.from_bytes(state[:_HEADER], "little")])
        memory = Memory(**json.loads(header["__metadata__"][_FACTS]))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"the state of an unfinished training cannot be read: {error}") from error
    weights, kept = model.state_dict(), _under("best", tensors)
    _refuse_foreign("model", weights, _under("model", tensors))
    _refuse_foreign("best", weights if kept else {}, kept)
    remembered = _under("optimizer", tensors)
    _refuse_foreign("optimizer", _expected(optimizer, remembered), remembered)
    model.load_state_dict(_under("model", tensors))
    best.update({name: tensor.to(weights[name].device) for name, tensor in kept.items()})
    for name, tensor in remembered.items():
        number, _, key = name.partition(".")
        weight = _weights(optimizer)[int(number)]
        # What is remembered of a weight lies in memory as the weight does: a fused step walks through both at once.
        alike = tensor.shape == weight.shape
        optimizer.state[weight][key] = torch.empty_like(weight).copy_(tensor) if alike else tensor.to(weight.device)
    return memory


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
