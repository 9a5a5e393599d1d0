"""Where the trained caps of a network's hidden units are, and whether what the units are given reaches them."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from tasks.counted import CountedModel
from tasks.places import beyond_places
from tasks.probes._layer_values import activation_layers, looking
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Measure


@component("probe", version=1, paper="https://doi.org/10.3390/math12223551")
def caps(
    model: CountedModel,
    images: Images,
    labels: Labels,
    streams: Streams,
    *,
    layers: list[int] | None = None,
    units: bool = False,
) -> list[Measure]:
    """Trained caps beside what they cap, https://doi.org/10.3390/math12223551.

    The caps m_i of D-ReLU (Sooksatra and Rivas 2024). Per layer `cap_min`, `cap_mean` and `cap_max`, and the share
    `dead` of caps that are 0 or less: numbers of the network, the same for every image. Per image and layer
    `net_max`, the largest value that a unit is given, and the share `reached` of units that are given more than their
    cap. Where `reached` is 0 on all images the caps have done nothing, and the layer is a plain ReLU. With `units`
    also the `cap` of each, as elements: one sample has them all.

    `layers` are numbers of activations, in the order in which an image meets them: 1 is the first, -1 the last; none is
    all. What has no `caps` has no values, but for `net_max`. Raises TaskError for a layer that there is not.
    """
    modules = activation_layers(model, layers)
    looks = {name: partial(_beside, module, units) for name, module in modules.items()}
    with torch.no_grad(), looking(modules, len(images), "input", looks) as found:
        model(images)
    return [Measure(measure, values, name) for name in modules for measure, values in found[name].items()]


def _beside(module: nn.Module, units: bool, net: Tensor) -> dict[str, Tensor]:
    """Each measure, (batch,) or (batch, units)."""
    given = net.double().flatten(1)
    tensor = getattr(module, "caps", None)
    has_caps = isinstance(tensor, Tensor)
    own = tensor.detach().double() if isinstance(tensor, Tensor) else net.new_full((), torch.nan, dtype=torch.float64)
    of_units = own.expand(net.shape[1:]).flatten()
    found = {
        "cap_min": own.min(),
        "cap_mean": own.mean(),
        "cap_max": own.max(),
        "dead": (own <= 0).double().mean() if has_caps else own,
    }
    return {
        **{name: value.expand(len(net)) for name, value in found.items()},
        "net_max": given.amax(1),
        "reached": (given > of_units).double().mean(1) if has_caps else own.expand(len(net)),
        **({"cap": own.flatten().expand(len(net), -1)} if units else {}),
    }


def refuses(*, layers: Sequence[int] | None, widths: Sequence[int]) -> Iterator[str]:
    """Layers that there are not."""
    yield from beyond_places(layers, len(widths), "model")
