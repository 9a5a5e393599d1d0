"""The rectifier that is cut off at 6."""

from torch import Tensor, nn

from tasks.registry import component


class ReLU6(nn.ReLU6):
    """min(max(x, 0), 6), which says where it is linear."""

    def regimes(self, net: Tensor) -> tuple[Tensor, Tensor]:
        """(linear, saturated), boolean masks of the shape of `net`: between 0 and 6, and the rest."""
        linear = (net > 0) & (net < 6)
        return linear, ~linear


@component(
    "activation",
    version=1,
    paper="https://www.cs.toronto.edu/~kriz/conv-cifar10-aug2010.pdf",
    adds_to_loss=False,
)
def relu6() -> nn.Module:
    """min(max(x, 0), 6), elementwise (Krizhevsky 2010). The gradients at 0 and at 6 are 0."""
    return ReLU6()
