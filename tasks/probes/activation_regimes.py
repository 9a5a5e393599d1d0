"""In which regime a network's hidden units work: linear, nonlinear or saturated."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from tasks.counted import CountedModel
from tasks.places import beyond_places, chosen_places
from tasks.probes._layer_values import activation_layers, looking
from tasks.refusals import refuse
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Measure, TaskError

Regimes = Callable[[Tensor], tuple[Tensor, Tensor]]

_WITHOUT = ("lwta",)
"""The activations that do not say which net values are linear."""


@component("probe", version=1, paper="https://doi.org/10.1007/978-3-030-61609-0_6")
def activation_regimes(
    model: CountedModel,
    images: Images,
    labels: Labels,
    streams: Streams,
    *,
    layers: list[int] | None = [-1],  # noqa: B006 - read from the source as a literal, and never changed
) -> list[Measure]:
    """Shares of linear, nonlinear and saturated net values, https://doi.org/10.1007/978-3-030-61609-0_6.

    Beckova, Pocos and Farkas 2020. Per image and layer the shares, 0 to 1, of the layer's net values
    (what its activation is given) that the activation's own `regimes` calls `linear` or `saturated`, and of the rest,
    `nonlinear`. An image has as many net values as any other, so the paper's share over a test set is the mean.

    `layers` are numbers of activations, in the order in which an image meets them: 1 is the first, -1 the last, the
    paper's choice; none is all. Raises TaskError for a layer that there is not, or whose activation has no `regimes`.
    """
    modules = activation_layers(model, layers)
    looks = {name: partial(_shares, _regimes(name, module)) for name, module in modules.items()}
    with torch.no_grad(), looking(modules, len(images), "input", looks) as found:
        model(images)
    return [Measure(regime, share, name) for name in modules for regime, share in found[name].items()]


def _regimes(name: str, module: nn.Module) -> Regimes:
    regimes: Regimes | None = getattr(module, "regimes", None)
    if regimes is None:
        refuse(TaskError, [_without(name, type(module).__name__)])
    return cast("Regimes", regimes)


def _shares(regimes: Regimes, net: Tensor) -> dict[str, Tensor]:
    linear, saturated = regimes(net)
    masks = {"linear": linear, "nonlinear": ~(linear | saturated), "saturated": saturated}
    return {regime: mask.flatten(1).double().mean(1) for regime, mask in masks.items()}


def refuses(*, layers: Sequence[int] | None, widths: Sequence[int], activation: Any) -> Iterator[str]:  # noqa: ANN401 - a `tasks.refusals.Part`
    """Layers that there are not, or whose activation does not know its regimes."""
    count = len(widths)
    yield from beyond_places(layers, count, "model")
    own = chosen_places(activation.parameters["layers"], count)
    if activation.name in _WITHOUT and (blind := [each for each in chosen_places(layers, count) if each in own]):
        yield _without(str(blind[0]), activation.name)


def _without(layer: str, activation: str) -> str:
    return (
        f"activation_regimes: the activation of layer {layer}, {activation}, does not say which net values are linear "
        "and which saturated: it has no `regimes`"
    )
