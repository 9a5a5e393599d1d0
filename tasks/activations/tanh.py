"""The hyperbolic tangent."""

from torch import Tensor, nn

from tasks.activations._regimes import logistic_bounds, mask_regimes
from tasks.registry import component


class Tanh(nn.Tanh):
    """The hyperbolic tangent, which says where it is nearly linear and where nearly flat."""

    def regimes(self, net: Tensor, *, linear_distance: float = 0.05, slope: float = 0.0005) -> tuple[Tensor, Tensor]:
        """(linear, saturated), boolean masks of the shape of `net`, defined as for the sigmoid.

        tanh(x) = 2 s(2 x) - 1 is a logistic curve of temperature 1/2 and height 2.
        """
        bounds = logistic_bounds(0.5, 2.0, linear_distance=linear_distance, slope=slope)
        return mask_regimes(net, bounds)


@component("activation", version=1, paper="https://doi.org/10.1007/978-3-642-35289-8_3", adds_to_loss=False)
def tanh() -> nn.Module:
    """The hyperbolic tangent, elementwise ("Efficient BackProp", LeCun et al. 1998)."""
    return Tanh()
