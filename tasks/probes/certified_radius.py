"""How far an image may be moved, provably, before the smoothed classifier changes its mind."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from scipy import special  # scipy has no annotations
from torch import Tensor, nn

from tasks.counted import CountedModel
from tasks.defenses.randomised_smoothing import GaussianNoise
from tasks.lone_class import lone_class
from tasks.noise import is_stochastic
from tasks.parameters import Count, Positive, Rate
from tasks.refusals import refuse
from tasks.registry import component, is_built_in
from tasks.streams import Streams
from tasks.types import Images, Labels, Measure, TaskError

_VALUES = {"cpu": 2**16}
"""Pixels that a pass takes, so that memory is bounded whatever `n`: 83 images of MNIST, which fit a core's cache."""
_MANY_VALUES = 2**22
"""Elsewhere."""


@component("probe", version=1, paper="https://arxiv.org/abs/1902.02918")
def certified_radius(
    model: CountedModel,
    images: Images,
    labels: Labels,
    streams: Streams,
    *,
    sigma: Positive | None = None,
    n0: Count = 100,
    n: Count = 1000,
    alpha: Rate = 0.001,
) -> list[Measure]:
    """The l2 radius certified by randomised smoothing (Cohen, Rosenfeld and Kolter 2019), and the smoothed prediction.

    Noise N(0, sigma^2) is added to the pixels and not clipped; `sigma` is that of the model's own smoothing layer
    unless given. That layer is left out meanwhile, so that noise is not added twice. CERTIFY: class c has most of `n0`
    votes; of `n` further ones, k are for it, and p is the Clopper-Pearson lower bound on its probability, which is too
    high with a probability of at most `alpha`. Where p <= 1/2 it abstains, else no image within sigma Phi^-1(p) in l2
    is predicted otherwise (their theorem 1 and proposition 2). PREDICT: of those `n` votes the class with most, unless
    the two-sided binomial test of the first two being as likely gives more than `alpha`.

    Per image: `predicted`, CERTIFY's class, none where it abstains; `abstained`; `p_lower`, the bound p; `radius`, in
    units of pixels in [0, 1], none where it abstains; `correct_radius`, the radius if the class is the label, else 0,
    so that the certified accuracy at r is the share of images with more; `vote`, PREDICT's class, none where it
    abstains; `vote_abstained`. Each statement is wrong with a probability of at most `alpha`, by itself.

    The paper takes `n` = 100,000. No radius is above sigma Phi^-1(alpha^(1 / n)), which for 1,000 is 2.46 sigma.
    PREDICT uses the votes that CERTIFY counted, where the paper draws anew. Costs n0 + n forwards. Raises TaskError
    where `sigma` is not given and the model has not exactly one smoothing layer.
    """
    layers = [layer for layer in model.classifier.modules() if isinstance(layer, GaussianNoise)]
    refuse(TaskError, [*lone_class("certified_radius", model.num_classes), *_undecided(sigma, len(layers))])
    deviation = layers[0].sigma if sigma is None else sigma
    with torch.no_grad(), _without(GaussianNoise, model.classifier):
        top = _votes(model, images, streams, "select", n0, deviation).argmax(1)
        counts = _votes(model, images, streams, "estimate", n, deviation)
    return _measures(top, counts, labels, n, deviation, alpha)


def _votes(model: CountedModel, images: Images, streams: Streams, purpose: str, count: int, sigma: float) -> Tensor:
    """(batch, classes) int64: how often each class is predicted in `count` draws."""
    counts = torch.zeros(len(images), model.num_classes, dtype=torch.int64, device=images.device)
    classes = torch.arange(model.num_classes, device=images.device)
    copies = max(1, _VALUES.get(images.device.type, _MANY_VALUES) // max(1, images.numel()))
    if is_stochastic(model.classifier):
        copies = 1  # of one image in one pass, whatever else the model draws would be the same
    rows = torch.arange(len(images), device=images.device)
    for start in range(0, count, copies):
        steps = range(start, min(start + copies, count))
        drawn = streams.normal(purpose, steps, tuple(images.shape[1:]), images.dtype)
        noisy = drawn.mul_(sigma).add_(images).flatten(0, 1)
        predicted = model.at(rows.repeat(len(steps)))(noisy).argmax(1)
        counts += (predicted.view(len(steps), -1, 1) == classes).sum(0)
    return counts


def _measures(top: Tensor, counts: Tensor, labels: Labels, n: int, sigma: float, alpha: float) -> list[Measure]:
    """What CERTIFY and PREDICT say, on the CPU, in float64."""
    top, counts, labels = top.cpu(), counts.cpu(), labels.cpu()
    hits = counts.gather(1, top[:, None])[:, 0]
    p_lower = lower_bound(hits, n, alpha)
    abstained = p_lower <= 0.5
    radius = torch.where(abstained, torch.nan, sigma * torch.special.ndtri(p_lower))
    correct = (top == labels) & ~abstained
    most, voted = counts.topk(2, dim=1)
    vote_abstained = p_value(most[:, 0], most[:, 1]) > alpha
    return [
        Measure("predicted", torch.where(abstained, torch.nan, top.double())),
        Measure("abstained", abstained),
        Measure("p_lower", p_lower),
        Measure("radius", radius),
        Measure("correct_radius", torch.where(correct, radius, 0.0)),
        Measure("vote", torch.where(vote_abstained, torch.nan, voted[:, 0].double())),
        Measure("vote_abstained", vote_abstained),
    ]


def lower_bound(hits: Tensor, n: int, alpha: float) -> Tensor:
    """Clopper and Pearson's one-sided lower bound on a probability that gave `hits` of `n`: (batch,) float64.

    It is the p with P(at least `hits` of n) = I_p(hits, n - hits + 1) = alpha, and 0 where there are none.
    """
    some = np.maximum(hits.numpy(), 1)
    found = torch.from_numpy(special.betaincinv(some, n - some + 1, alpha))
    return torch.where(hits > 0, found, 0.0)


def p_value(most: Tensor, second: Tensor) -> Tensor:
    """The two-sided binomial test's of `most` of `most` + `second` at 1/2: (batch,) float64. `most` >= `second`."""
    tail = special.betainc(np.maximum(most.numpy(), 1), second.numpy() + 1, 0.5)
    return torch.from_numpy(np.minimum(2 * tail, 1.0))


@contextmanager
def _without(kind: type[nn.Module], model: nn.Module) -> Iterator[None]:
    """Inside, the model's modules of a kind do nothing."""
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, kind)
    ]
    for parent, name, _ in places:
        setattr(parent, name, nn.Identity())
    try:
        yield
    finally:
        for parent, name, child in places:
            setattr(parent, name, child)


def refuses(*, sigma: float | None, defense: Any, classes: int | None = None) -> Iterator[str]:  # noqa: ANN401 - a `tasks.refusals.Part`
    """A sigma that is left to the smoothing layer of a model that has none, or several."""
    yield from lone_class("certified_radius", classes)
    if all(is_built_in("defense", part.name) for part in defense.all):
        yield from _undecided(sigma, sum(part.name == "randomised_smoothing" for part in defense.all))


def _undecided(sigma: float | None, layers: int) -> Iterator[str]:
    if sigma is None and layers != 1:
        yield f"certified_radius: the model has {layers} smoothing layers, so sigma must be given"
