"""Weights that are noisy in training and at test, by amounts that are trained."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, register_parametrization

from tasks import noise
from tasks.defenses._weights import weighted_layers
from tasks.model import Classifier
from tasks.parameters import Positive
from tasks.refusals import refuse
from tasks.registry import component
from tasks.training.objective import Defense
from tasks.types import TaskError


class WeightNoise(nn.Module):
    """w + alpha sigma eta while `drawn` is eta, else w; sigma is the standard deviation of w's elements."""

    alpha: Tensor

    def __init__(self, alpha: float, *, trainable: bool) -> None:
        super().__init__()
        self.drawn: Tensor | None = None
        if trainable:
            self.alpha = nn.Parameter(torch.tensor(alpha))
        else:
            self.register_buffer("alpha", torch.tensor(alpha))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight as its layer sees it. Sigma passes no gradient on, as in the paper."""
        if self.drawn is None:
            return weight
        return weight + self.alpha * weight.detach().std(correction=0) * self.drawn


class NoisyLayer(nn.Module):
    """Put before a layer's own class: it runs that with a noisy weight, which is the same for images that share one."""

    stochastic: bool

    def forward(self, inputs: Tensor) -> Tensor:
        """What the layer does, (batch, ...) to (batch, ...)."""
        forward: Callable[[Tensor], Tensor] = super().forward
        if not (self.training or self.stochastic):
            return forward(inputs)
        parametrized: ParametrizationList = self.parametrizations["weight"]  # type: ignore[index,assignment] # untyped
        weight_noise = next(part for part in parametrized if isinstance(part, WeightNoise))

        def run(inputs: Tensor, drawn: Tensor) -> Tensor:
            weight_noise.drawn = drawn
            try:
                return forward(inputs)
            finally:
                weight_noise.drawn = None

        return noise.share_normal(parametrized.original, inputs, run)


@component(
    "defense",
    version=1,
    paper="https://arxiv.org/abs/1811.09310",
    stochastic={"evaluation": ("noise",)},
    evaluation=("evaluation",),
    adds_to_loss=False,
)
def parametric_noise(
    *, alpha: Positive = 0.25, trainable: bool = True, evaluation: Literal["noise", "none"] = "noise"
) -> Defense:
    """Gaussian noise in every weight, of a size that each layer learns (PNI).

    w' = w + alpha sigma eta with eta ~ N(0, 1) for each element: Rakin et al. (2018), "Parametric Noise Injection".
    Sigma is the standard deviation of the layer's weights, alpha one number for each linear layer and convolution of
    body and head, which starts at `alpha` and is trained with the weights unless `trainable` is false. The noise is on
    in training, and at test unless `evaluation` is "none".

    A batch shares the draws of a pass, as in the paper. Under attack all images of a case do, whatever their batch (see
    `tasks.noise.share_normal`), and so does the judge's: more images do not average the noise out, more `draws` do. A
    layer runs once for each pass that its batch's images are at: usually one, but under EOT as many as there are draws.
    The paper trains on the mean of the clean and an adversarial loss; for that, combine this with adversarial training.
    """

    def adapt(model: Classifier) -> None:
        layers = weighted_layers(model)
        refuse(TaskError, _repeated(2 if any(isinstance(layer, NoisyLayer) for layer in layers) else 1))
        for layer in layers:
            register_parametrization(layer, "weight", WeightNoise(alpha, trainable=trainable))
            layer.__class__ = _noisy(type(layer))  # type: ignore[assignment,arg-type] # made from its own class
            layer.stochastic = evaluation == "noise"  # type: ignore[assignment] # a flag among modules

    return Defense(adapt=adapt)


def refuses(*, defense: Any) -> Iterator[str]:  # noqa: ANN401 - a `tasks.refusals.Part`
    """Noise in weights that are noisy already."""
    yield from _repeated(sum(part.name == "parametric_noise" for part in defense.all))


def _repeated(times: int) -> Iterator[str]:
    if times > 1:
        yield "parametric_noise: there can be but one in a combination, as its noise is in every weight"


@cache
def _noisy(kind: type[nn.Module]) -> type[nn.Module]:
    """The class of noisy layers of a kind, which keeps the kind's other methods: a head stays a head."""
    return type(f"Noisy{kind.__name__}", (NoisyLayer, kind), {})
