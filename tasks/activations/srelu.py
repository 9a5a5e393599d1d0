"""S-ReLU: the rectifier with a fixed cap."""

from torch import Tensor, nn
from torch.nn import functional

from tasks.parameters import Positive
from tasks.registry import component


class SReLU(nn.Module):
    """max(0, min(x, cap)), where the cap may be another one while the module evaluates."""

    def __init__(self, cap: float, evaluation_cap: float) -> None:
        super().__init__()
        self.training_cap = cap
        self.evaluation_cap = evaluation_cap

    @property
    def cap(self) -> float:
        """The largest value there is, in the mode that the module is in."""
        return self.training_cap if self.training else self.evaluation_cap

    def forward(self, net: Tensor) -> Tensor:
        """Elementwise, in 0..cap."""
        return functional.hardtanh(net, 0.0, self.cap)

    def regimes(self, net: Tensor) -> tuple[Tensor, Tensor]:
        """(linear, saturated), boolean masks of the shape of `net`: between 0 and the cap, and the rest."""
        linear = (net > 0) & (net < self.cap)
        return linear, ~linear

    def extra_repr(self) -> str:
        """The caps."""
        return f"cap={self.training_cap}, evaluation_cap={self.evaluation_cap}"


@component(
    "activation",
    version=1,
    paper="https://arxiv.org/abs/2405.03777",
    evaluation=("evaluation_cap",),
    adds_to_loss=False,
)
def srelu(*, cap: Positive = 1.0, evaluation_cap: Positive | None = None) -> nn.Module:
    """max(0, min(x, cap)), elementwise: S-ReLU, or capped ReLU. The gradients at 0 and at the cap are 0.

    Of "Is ReLU Adversarially Robust?" (Sooksatra, Hamerly and Rivas 2024), with caps of 0.01 to 100. For any net A and
    perturbation B, |S(A + B) - S(A)| <= |R(A + B) - R(A)|, where R is the rectifier, and the left side falls with the
    cap. `evaluation_cap` is the cap of the trained model: None leaves it, another is set without retraining. Attacks
    that craft training images see that one too, because the model evaluates while they do.

    A small cap saturates most units, and a white-box attack finds gradients of exactly 0.
    """
    return SReLU(cap, cap if evaluation_cap is None else evaluation_cap)
