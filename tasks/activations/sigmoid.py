"""The logistic function, whose steepness is a parameter."""

import torch
from torch import Tensor, nn

from tasks.activations._regimes import logistic_bounds, mask_regimes
from tasks.parameters import Positive
from tasks.registry import component


class Sigmoid(nn.Module):
    """1 / (1 + exp(-net / temperature))."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, net: Tensor) -> Tensor:
        """Elementwise, in 0..1."""
        return torch.sigmoid(net if self.temperature == 1 else net / self.temperature)

    def regimes(self, net: Tensor, *, linear_distance: float = 0.05, slope: float = 0.0005) -> tuple[Tensor, Tensor]:
        """(linear, saturated), boolean masks of the shape of `net`; the defaults are the paper's.

        Linear: |net| <= r1, up to which the curve is within `linear_distance` of its tangent at 0. Saturated:
        |net| >= r2, from which its derivative is at most `slope`. They overlap where r2 < r1, as for a temperature of
        300.
        """
        bounds = logistic_bounds(self.temperature, 1.0, linear_distance=linear_distance, slope=slope)
        return mask_regimes(net, bounds)

    def extra_repr(self) -> str:
        """The temperature."""
        return f"temperature={self.temperature}"


@component("activation", version=1, paper="https://doi.org/10.1007/978-3-030-61609-0_6", adds_to_loss=False)
def sigmoid(*, temperature: Positive = 1.0) -> nn.Module:
    """1 / (1 + exp(-x / temperature)), elementwise; a low temperature is a steep curve.

    Of "Computational Analysis of Robustness in Neural Network Classifiers" (Beckova, Pocos and Farkas 2020), where
    temperatures go from 1/64 to 16. In float32 the gradient is exactly 0 for nets above 17 and below about -89
    temperatures: a white-box attack on a steep unit sees nothing there, whatever the robustness.
    """
    return Sigmoid(temperature)
