"""D-ReLU: the rectifier with trainable caps."""

from collections.abc import Callable
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor, nn

from tasks.parameters import NonNegative, Positive
from tasks.registry import component


class _Capped(torch.autograd.Function):
    """max(0, min(net, caps)), with the published gradients also where two of the three are equal.

    torch.minimum would give each of two equal ones half of the gradient, and takes longer backward.
    """

    @staticmethod
    def forward(net: Tensor, caps: Tensor) -> Tensor:
        return torch.minimum(net, caps).relu_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ANN401, ARG004 - torch's signature
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:  # noqa: ANN401 - torch's signature
        net, caps = ctx.saved_tensors
        of_net = of_caps = None
        if ctx.needs_input_grad[0]:
            of_net = gradient * ((net > 0) & (net < caps))
        if ctx.needs_input_grad[1]:
            of_caps = (gradient * (net > caps)).sum_to_size(caps.shape) * (caps > 0)
        return of_net, of_caps


class DReLU(nn.Module):
    """max(0, min(x_i, m_i)), with one cap m_i for each neuron or channel. The first pass decides how many."""

    caps: nn.Parameter | nn.UninitializedParameter

    def __init__(self, balancer: float, cap: float, per: Literal["neuron", "channel"]) -> None:
        super().__init__()
        self.balancer = balancer
        self.cap = cap
        self.per = per
        self.is_penalised = balancer > 0
        self.caps = nn.UninitializedParameter()

    def forward(self, net: Tensor) -> Tensor:
        """Elementwise; no value exceeds its cap, and those of a cap that has crossed 0 are 0."""
        if isinstance(self.caps, nn.UninitializedParameter):
            width = net.shape[1:] if self.per == "neuron" else (net.shape[1], *(1 for _ in net.shape[2:]))
            self.caps.materialize(width, net.device, net.dtype)
            nn.init.constant_(self.caps, self.cap)
        return cast("Tensor", _Capped.apply(net, self.caps))

    def penalty(self) -> Tensor:
        """The scalar balancer * sum_i m_i^2."""
        return self.balancer * self.caps.square().sum()

    def regimes(self, net: Tensor) -> tuple[Tensor, Tensor]:
        """(linear, saturated), boolean masks of the shape of `net`: between 0 and the cap, and the rest."""
        linear = (net > 0) & (net < self.caps)
        return linear, ~linear

    def extra_repr(self) -> str:
        """The parameters."""
        return f"balancer={self.balancer}, cap={self.cap}, per={self.per}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # The first pass gives the caps its type and device. Before it, torch cannot set their memory format.
        if not isinstance(self.caps, nn.UninitializedParameter):
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call] # torch leaves it unannotated
        return self


@component("activation", version=1, paper="https://doi.org/10.3390/math12223551", adds_to_loss={"balancer": (0,)})
def drelu(
    *, balancer: NonNegative = 1.0, cap: Positive = 100.0, per: Literal["neuron", "channel"] = "neuron"
) -> nn.Module:
    """max(0, min(x_i, m_i)) with trainable caps m_i, which start at `cap`: D-ReLU.

    Of "Dynamic-Max-Value ReLU Functions for Adversarially Robust Machine Learning Models" (Sooksatra and Rivas 2024).
    The training loss has the addend `balancer` * sum_i m_i^2; a balancer of 1 works in most of their cases, and they
    use 1e-7 to 1e4. df/dm_i is 1 where x_i > m_i > 0 and 0 elsewhere, df/dx_i is 1 where 0 < x_i < m_i. So a cap that
    has crossed 0 stays dead: only the penalty acts on it. `per` "neuron" gives each element of a feature map its own
    cap, "channel" all positions of a channel one; the two are the same for a dense layer.

    At first the penalty, `balancer` * 10^4 for each neuron, dominates the loss, and its gradient is 2 * `balancer` *
    m_i: Adam moves a cap by about its learning rate, whatever the balancer, so that it takes 100 / 0.001 batches to
    come down from 100. A training of fewer, or one that is ended before by something that does not see the penalty
    fall, leaves a plain ReLU, whose caps no value reaches: the probe `caps` tells. The study's rate of 1e-3 and 2,000
    epochs suffice where an epoch has 50 batches or more and early stopping watches the whole objective, which falls
    with the caps; for less data take a lower `cap` or a higher rate. Where the penalty is small beside the noise of the
    loss on the validation split, as with a balancer of 1e-7, early stopping cannot see it fall.
    """
    return DReLU(balancer, cap, per)
