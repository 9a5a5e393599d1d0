"""Activations of few levels, behind layers that do not stretch distances."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from tasks.defenses._weights import gram_penalty, weighted_layers
from tasks.model import Classifier
from tasks.parameters import Count, NonNegative, Positive
from tasks.refusals import refuse
from tasks.registry import component
from tasks.training.objective import Defense
from tasks.types import Images, Labels, ModelError


def quantised(values: Tensor, bits: int, low: Tensor | float, high: Tensor | float) -> Tensor:
    """The nearest of 2^bits evenly spaced levels, of which `low` is the first and `high` the last.

    The gradient is that of clipping to the range: it passes straight through the rounding (Bengio et al. 2013).
    """
    steps = (1 << bits) - 1
    clipped = values.clamp(low, high)  # type: ignore[arg-type] # both are numbers or both tensors
    shares = (clipped.detach() - low) / (high - low)
    levels = (shares * steps).round() / steps * (high - low) + low
    return levels + (clipped - clipped.detach())  # the difference is exactly 0


class WeightQuantiser(nn.Module):
    """A weight tensor to 2^bits levels between plus and minus its largest magnitude."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        """Any shape, to the same."""
        largest = weight.detach().abs().amax().clamp(min=torch.finfo(weight.dtype).tiny)
        return quantised(weight, self.bits, -largest, largest)


_MOST_BITS = 64
"""With more, the number of levels is none that torch multiplies by."""


@component("defense", version=1, paper="https://arxiv.org/abs/1904.08444", adds_to_loss={"beta": (0,)})
def quantisation(
    *, bits: Count = 4, cap: Positive = 6.0, beta: NonNegative = 1e-3, weight_bits: Count | None = None
) -> Defense:
    """Activations of 2^bits levels, and a penalty on layers that stretch distances (defensive quantisation).

    Lin et al. (2019), "Defensive Quantization: When Efficiency Meets Robustness". What each of the cell's activations
    makes is clipped to [0, `cap`] and rounded to the nearest of 2^`bits` evenly spaced levels, 0 and `cap` among them;
    with the cell's activation relu and the default cap that is the paper's quantised ReLU6. Negative values become 0.
    The loss is the head's own plus that of `orthogonality`, beta / 2 sum |W^T W - I|_F^2; 0 leaves it out, which is
    what the paper calls vanilla quantisation. Its default is ours.

    `weight_bits`, which is not in the paper, rounds each layer's weights to so many bits as well, evenly between plus
    and minus the largest magnitude, and the penalty is on what comes out. The gradient passes straight through every
    rounding, and is 0 outside of the range; attacks get the same. For images of few bits, combine this with
    `input_transformation`. Raises ModelError where an activation of the cell is not part of its body.
    """
    refuse(ModelError, refuses(bits=bits, weight_bits=weight_bits))

    def adapt(model: Classifier) -> None:
        parts = set(model.body.modules())
        for activation in model.activations:
            if activation not in parts:
                raise ModelError(f"quantisation: {type(activation).__name__} is listed as an activation but not used")
            # A hook, so that the module stays what it was: named, listed and asked for its regimes as before.
            activation.register_forward_hook(lambda _, __, made: quantised(made, bits, 0.0, cap))
        if weight_bits is not None:
            for layer in weighted_layers(model):
                register_parametrization(layer, "weight", WeightQuantiser(weight_bits))

    def penalty(model: Classifier, images: Images, labels: Labels) -> Tensor:
        return gram_penalty(model, beta)

    return Defense(adapt=adapt, penalty=penalty if beta else None)


def refuses(*, bits: int, weight_bits: int | None) -> Iterator[str]:
    """More levels than there are numbers."""
    for name, given in (("bits", bits), ("weight_bits", weight_bits)):
        if given is not None and given > _MOST_BITS:
            yield f"quantisation: {name} is {given}, and 2^{given} levels are more than torch can count"
