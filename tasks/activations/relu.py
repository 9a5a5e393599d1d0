"""The rectifier."""

from torch import Tensor, nn

from tasks.registry import component


class ReLU(nn.ReLU):
    """The rectifier, which says where it is linear."""

    def regimes(self, net: Tensor) -> tuple[Tensor, Tensor]:
        """(linear, saturated), boolean masks of the shape of `net`: where it is positive, and where it is not."""
        linear = net > 0
        return linear, ~linear


@component("activation", version=1, paper="https://icml.cc/Conferences/2010/papers/432.pdf", adds_to_loss=False)
def relu() -> nn.Module:
    """max(x, 0), elementwise. The gradient at 0 is 0."""
    return ReLU()
