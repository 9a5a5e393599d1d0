"""How much a small change of the image has grown, layer by layer."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from tasks.attacks.pgd import pgd
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import clip
from tasks.parameters import Count, Positive
from tasks.places import beyond_places
from tasks.probes._layer_values import activation_layers, looking
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Measure


@component("probe", version=1, paper="https://arxiv.org/abs/2405.03777", sourced=True)
def perturbation_growth(
    model: CountedModel,
    images: Images,
    labels: Labels,
    streams: Streams,
    source: CountedModel,
    *,
    perturbation: Literal["pgd", "uniform"] = "pgd",
    eps: Positive = 0.078125,
    steps: Count = 20,
    alpha: Positive = 0.0078125,
    layers: list[int] | None = None,
) -> list[Measure]:
    """Distances that a perturbed image makes in each layer, https://arxiv.org/abs/2405.03777.

    The paper's capped ReLUs, measured as in Sooksatra's dissertation, Baylor 2025, figures 3.1 and 3.2. Per image and
    layer, between the layer's output on the image and on the perturbed image: `l2`, `linf`, both also relative to the
    clean output's own norm (`relative_l2`, `relative_linf`; none where that is 0), and the mean and the greatest over
    channels of the channel's l2 (`channel_l2_mean`, `channel_l2_max`), as in the code of Alvarez Cabrera 2020. A
    unit of a dense layer is a channel. The layers are the "input", the activations' outputs under their numbers
    ("1" is the first) and the "scores"; `layers` picks activations, -1 being the last, none all.

    The perturbation is within `eps` of each pixel, in units of pixels in [0, 1], and within the box. `pgd`: by PGD on
    the source, `steps` of `alpha` from the image itself, the last 20/256 and 2/256 in the dissertation; of the points
    visited that with the least margin. `uniform`: drawn uniformly, which `steps` and `alpha` do not concern. The
    dissertation seems to show every capped network the examples made on the uncapped one: that is a `source` with
    another activation. Without one each network makes its own, and where its gradient vanishes PGD makes next to none:
    read a layer's distance beside that of the "input".
    A stochastic model makes the same draws for both images. Raises TaskError for a layer that there is not.
    """
    modules = activation_layers(model, layers)
    if perturbation == "pgd":
        budget = Budget("linf", eps)
        moved, _ = pgd(
            source, images, labels, budget, streams, steps=steps, alpha=alpha, random_start=False, stop="never"
        )
    else:
        drawn = streams.uniform("perturbation", 0, tuple(images.shape[1:]), images.dtype)
        moved = clip(images + eps * (2 * drawn - 1), model.box)
    # Both in one pass: the two rows of a sample get the same draws, and no layer's output has to wait for the other.
    both = torch.cat([images, moved])
    rows = torch.arange(len(images), device=images.device).repeat(2)
    with torch.no_grad(), looking(modules, len(both), "output", dict.fromkeys(modules, _growth)) as found:
        scores = model.at(rows)(both)
    grown = {"input": _growth(both), **{name: found[name] for name in modules}, "scores": _growth(scores)}
    return [Measure(name, values, layer) for layer, measured in grown.items() for name, values in measured.items()]


def _growth(outputs: Tensor) -> dict[str, Tensor]:
    """Distances, (batch,) each, between the first half of the rows, which is clean, and the second."""
    clean, moved = outputs.double().chunk(2)
    delta = moved - clean
    channels = torch.linalg.vector_norm(delta.flatten(2) if delta.dim() > 2 else delta[:, :, None], dim=2)
    l2, linf = torch.linalg.vector_norm(channels, dim=1), delta.abs().flatten(1).amax(1)
    own = clean.flatten(1)
    return {
        "l2": l2,
        "linf": linf,
        "relative_l2": _ratio(l2, torch.linalg.vector_norm(own, dim=1)),
        "relative_linf": _ratio(linf, own.abs().amax(1)),
        "channel_l2_mean": channels.mean(1),
        "channel_l2_max": channels.amax(1),
    }


def _ratio(distance: Tensor, size: Tensor) -> Tensor:
    return torch.where(size > 0, distance / size, torch.nan)


def refuses(*, layers: Sequence[int] | None, widths: Sequence[int]) -> Iterator[str]:
    """Layers that there are not."""
    yield from beyond_places(layers, len(widths), "model")
