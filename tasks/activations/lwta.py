"""Stochastic local winner-takes-all: in each block of neighbouring units one, drawn at random, keeps its value."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tasks import noise, penalties
from tasks.parameters import Count, NonNegative, Positive
from tasks.places import chosen_places
from tasks.refusals import refuse
from tasks.registry import component
from tasks.types import ModelError


class LargestWins(nn.Module):
    """In each block of `units` units the largest keeps its value, the others are 0."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    def forward(self, net: Tensor) -> Tensor:
        """Elementwise but for the winners; of equal units the first wins."""
        blocks = split_blocks(net, self.units)
        # Not argmax, which takes ten times as long along a dimension that is not the last.
        return keep_winners(blocks, blocks.max(2, keepdim=True).indices).flatten(1, 2)

    def extra_repr(self) -> str:
        """The units of a block."""
        return f"units={self.units}"


class SampledWins(nn.Module):
    """In each block of `units` units one keeps its value; the winner is drawn from the softmax over the block."""

    stochastic = True

    def __init__(self, units: int, temperature: float, kl: float) -> None:
        super().__init__()
        self.units = units
        self.temperature = temperature
        self.kl = kl
        self.is_penalised = kl > 0
        self._divergence: Tensor | None = None
        self._images = 0

    def forward(self, net: Tensor) -> Tensor:
        """Values times winners: one per block in evaluation, relaxed ones, which sum to 1, in training."""
        blocks = split_blocks(net, self.units)
        if self.is_penalised and (torch.is_grad_enabled() if self.training else penalties.are_counted()):
            divergence = kl_from_uniform(blocks)
            self._divergence = divergence if self._divergence is None else self._divergence + divergence
            self._images += len(net)
        if not self.training:
            return keep_winners(blocks, draw_winners(blocks)).flatten(1, 2)
        return (blocks * relaxed_winners(blocks, self.temperature)).flatten(1, 2)

    def penalty(self) -> Tensor:
        """The scalar kl * KL(q || uniform): summed over blocks, averaged over the images since the last call."""
        divergence, images = self._divergence, self._images
        self._divergence, self._images = None, 0
        return torch.zeros(()) if divergence is None else divergence * (self.kl / images)

    def extra_repr(self) -> str:
        """The parameters."""
        return f"units={self.units}, temperature={self.temperature}, kl={self.kl}"

    def __getstate__(self) -> dict[str, Any]:
        # A copy shares no graph with the original, and torch would refuse to copy one.
        return {**self.__dict__, "_divergence": None, "_images": 0}


def split_blocks(net: Tensor, units: int) -> Tensor:
    """(batch, blocks, units, ...): neighbouring units, or neighbouring channels at each position."""
    width = net.shape[1]
    if width % units:
        refuse(ModelError, refuses(units=units, widths=[width]))
    return net.view(len(net), width // units, units, *net.shape[2:])


def keep_winners(blocks: Tensor, winners: Tensor) -> Tensor:
    """The blocks with all but the winners set to 0. `winners`: (batch, blocks, 1, ...), int64 places in the block."""
    places = torch.arange(blocks.shape[2], device=blocks.device).view(-1, *(1 for _ in blocks.shape[3:]))
    # A third of the time of torch.where.
    return blocks * (places == winners)


def draw_winners(blocks: Tensor) -> Tensor:
    """(batch, blocks, 1, ...), int64: a unit of each block, by its softmax probability.

    By the inverse of the cumulated probabilities, which takes one number for a block where Gumbel noise takes one for
    each unit.
    """
    with torch.no_grad():
        cumulated = torch.softmax(blocks, 2)[:, :, :-1].cumsum(2)
        return (cumulated <= noise.uniform(blocks[:, :, :1])).sum(2, keepdim=True)


def relaxed_winners(blocks: Tensor, temperature: float) -> Tensor:
    """A Gumbel-softmax sample for each block, of the shape of `blocks`; it tends to one-hot with low temperatures."""
    drawn = noise.uniform(blocks)
    # The least positive number, whose logarithm is finite, stands for a draw of 0. No draw is 1.
    gumbel = drawn.clamp_(min=torch.finfo(drawn.dtype).tiny).log_().neg_().log_().neg_()
    return torch.softmax((blocks + gumbel) / temperature, 2)


def kl_from_uniform(blocks: Tensor) -> Tensor:
    """The scalar KL(softmax || uniform), in nats, summed over blocks, positions and images."""
    log_probabilities = torch.log_softmax(blocks, 2)
    negative_entropy = (log_probabilities.exp() * log_probabilities).sum(2)
    return (negative_entropy + math.log(blocks.shape[2])).sum()


@component(
    "activation",
    version=1,
    paper="https://arxiv.org/abs/2112.02671",
    stochastic={"winner": ("sampled",)},
    block="units",
    adds_to_loss={"winner": ("largest",), "kl": (0,)},
)
def lwta(
    *,
    units: Count = 2,
    winner: Literal["sampled", "largest"] = "sampled",
    temperature: Positive = 0.67,
    kl: NonNegative = 0.001,
) -> nn.Module:
    """One of each block of `units` neighbouring units keeps its value, the others are 0: local winner-takes-all.

    Of "Stochastic Local Winner-Takes-All Networks Enable Profound Adversarial Robustness" (Panousis et al. 2021).
    Blocks are units 1 to `units`, and so on, or channels likewise, at each position of a map for itself. The output is
    xi * H, where H are the values of a block and xi its winner, drawn with probabilities q = softmax(H). Evaluation
    draws hard winners, and gradients flow through their H alone; training relaxes xi to softmax((H + Gumbel noise) /
    `temperature`). The negative ELBO is the loss plus KL(q || uniform), summed over blocks and averaged over images,
    of which `kl` is the weight. `winner` "largest" takes the largest unit instead, in training too, as in "Compete to
    Compute" (Srivastava et al. 2013); it draws nothing, and `temperature` and `kl` do nothing.

    From the authors' code: 0.67, which is its temperature for dense layers, and the weight of 0.001, by which its
    Bayesian layers scale the KL. With the ELBO's own weight of 1 the thousands of blocks of a convolutional layer
    outweigh the one label, and winners tend to chance. What differs: that code learns the temperature of convolutional
    layers, from 0.69; takes the KL of the relaxed sample, where this is exact; and evaluates with winners relaxed at
    0.01, through which gradients reach the losers. Its prior over weights, the Indian buffet process, is left out.

    A white-box attack that takes one gradient per step follows one draw: let it average several.
    Raises ModelError for `units` under 2, and in the first pass where they do not divide the width of a layer.
    """
    refuse(ModelError, refuses(units=units))
    return SampledWins(units, temperature, kl) if winner == "sampled" else LargestWins(units)


def refuses(*, units: int, layers: Sequence[int] | None = None, widths: Sequence[int] = ()) -> Iterator[str]:
    """Blocks of one unit, and layers that cannot be split into blocks."""
    if units < 2:
        yield f"lwta: a block of {units} unit has no competition: `units` must be 2 or more"
        return
    for width in sorted({widths[place - 1] for place in chosen_places(layers, len(widths))}):
        if width % units:
            yield (
                f"lwta: a layer of {width} units or channels cannot be split into blocks of {units}: "
                f"`units` must divide the width of each layer that has this activation"
            )
