"""What an attack returned, before it is judged: refused where it is no image, leaves the box or exceeds its budget.

Knows nothing of the model's answer to it.
"""

import torch
from torch import Tensor

from tasks.cases import Attack
from tasks.metrics import Box, distances
from tasks.types import AttackError, Images, Steps

_BOX_ROUNDING = 1e-5


def arrived(attack: str, returned: Images, steps: Steps, inputs: Images, samples: Tensor) -> Tensor:
    """Whether an image came back, (n,). Raises AttackError where shape, type or values are none of an image."""
    for what, got, due in (("images", returned, inputs), ("steps", steps, samples)):
        if _kind(got) != _kind(due):
            raise AttackError(
                f"{attack} returned {what} {_kind(got)} instead of {_kind(due)} (first sample {samples[0]})"
            )
    absent = returned.isnan().flatten(1).all(1)
    torn = ~returned.isfinite().flatten(1).all(1) & ~absent
    if bool(torn.any()):
        raise AttackError(f"{attack} returned values that are not finite for sample {samples[torn][0]}")
    return ~absent


def inside(member: Attack, images: Images, clean: Images, samples: Tensor, box: Box) -> tuple[Images, Tensor]:
    """The images, clipped exactly to the box, and whether they are within eps.

    Raises AttackError beyond rounding of the box, or of a budget that the attack itself has to keep.
    """
    name, budget = member.component.name, member.budget
    low, high = box
    excess = torch.maximum(low - images, images - high).flatten(1).amax(1)
    _refuse(name, excess, _BOX_ROUNDING, "out of the box by", samples)
    images = images.clamp(low, high)
    within = torch.ones_like(samples, dtype=torch.bool)
    if budget.eps is not None and budget.beyond != "allowed":
        distance = distances(images, clean)[budget.norm]
        limit = budget.eps * (1 + 1e-4) + 1e-6
        if budget.beyond == "error":
            _refuse(name, distance, limit, f"over its budget eps = {budget.eps}: {budget.norm} is", samples)
        within = distance <= limit
    return images, within


def _refuse(attack: str, measured: Tensor, limit: float, what: str, samples: Tensor) -> None:
    worst = measured.argmax()
    if bool(measured[worst] > limit):
        raise AttackError(f"{attack} on sample {samples[worst]}: {what} {float(measured[worst]):.6g}")


def _kind(thing: object) -> str:
    if not isinstance(thing, Tensor):
        return type(thing).__name__
    return f"{tuple(thing.shape)} {thing.dtype} on {thing.device}"
