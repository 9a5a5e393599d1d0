"""What components declare, compared with what they do: a declaration that does not hold is an error, not a number.

Knows nothing of files, shards or rows of results.
"""

import torch
from torch import Tensor, nn

from tasks import registry
from tasks.cases import Attack
from tasks.config import Cell
from tasks.counted import CountedModel
from tasks.needs import MODEL_PARTS, draws
from tasks.noise import Noise, is_stochastic
from tasks.passes import scores_of
from tasks.streams import Streams
from tasks.types import AttackError, Images, ModelError

_WAVER = 1e-3
"""By how much of its largest score a model may differ from itself: kernels of a GPU may add in another order."""


def compare_draws(cell: Cell, model: nn.Module) -> None:
    """Raise ModelError if a model draws numbers when it evaluates, and no part of its cell declares that.

    Attacks would take one look where they have to average several, and the judge one vote.
    """
    if not is_stochastic(model) or draws(cell):
        return
    drawing = sorted({type(module).__name__ for module in model.modules() if getattr(module, "stochastic", False)})
    parts = ", ".join(f"{kind} {getattr(cell, kind).name}" for kind in MODEL_PARTS)
    raise ModelError(
        f"the model draws numbers when it evaluates ({', '.join(drawing)}), and none of its parts declares it: "
        f"one of {parts} needs stochastic=True in its @component"
    )


def compare_attack(attack: Attack, model: CountedModel) -> None:
    """Raise AttackError if an attack asks the model and not what it aims at, or sees or asks more than it declares to.

    One that asks the model nothing, such as a single draw of noise, has nothing that could follow a target.
    """
    name, facts = attack.component.name, registry.describe("attack", attack.component.name).facts
    knowledge = facts.knowledge
    is_deaf = model.is_targeted and "targets" not in model.shown
    if "targeted" in facts.targeting and is_deaf and bool(model.forwards.any()):
        raise AttackError(f"{name} declares to aim at targets, and never looked at those it was given")
    if "finished" in model.shown and facts.stops is not True:
        raise AttackError(f"{name} asks when a sample is finished, and does not declare it: add stops=True")
    if "believed" in model.shown and not facts.stops:
        raise AttackError(f"{name} asks what can be believed, and does not declare it: add stops='drawing'")
    if knowledge != "white-box" and bool(model.backwards.any()):
        raise AttackError(f"{name} declares the knowledge {knowledge!r}, and took gradients of the model")
    if knowledge == "none" and bool(model.forwards.any()):
        raise AttackError(f"{name} declares the knowledge 'none', and asked the model")


def compare_passes(model: nn.Module, images: Images, samples: Tensor) -> None:
    """Raise ModelError if a model gives the same images other scores when asked again, or moves torch's generator.

    A layer that draws says `stochastic = True` and draws from `tasks.noise`, so that a sample's draws are its own.
    """
    generator = _generators(images)
    first, second = (_scores(model, images, samples) for _ in range(2))
    if not all(map(torch.equal, _generators(images), generator)):
        raise ModelError(
            "the model draws from torch's own generator when it evaluates: a layer that draws says stochastic = True, "
            "and takes its numbers from tasks.noise"
        )
    apart = (first - second).abs()
    if bool((apart > _WAVER * first.abs().amax(1, keepdim=True)).any()):
        raise ModelError(f"asked again, the model's scores of the same image differ by {float(apart.max()):.3g}")


def _generators(images: Images) -> list[Tensor]:
    """Where torch's generators stand that a model of these images may draw from."""
    return [torch.random.get_rng_state(), *([torch.cuda.get_rng_state(images.device)] if images.is_cuda else [])]


def _scores(model: nn.Module, images: Images, samples: Tensor) -> Tensor:
    noise = Noise(Streams("compared", samples), torch.zeros_like(samples)) if is_stochastic(model) else None
    with torch.no_grad():
        return scores_of(model, images, None, noise)
