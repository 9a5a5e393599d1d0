"""The exhaustive few-pixel attack: all blacks and whites of the few pixels that the gradient names."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from tasks.ascent import Gradient
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import rowwise
from tasks.parameters import Count
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Scores, Steps

_RANKING_LOOKS = 100
"""Gradients of a model that draws that make the one ranking, on which all depends."""


@component(
    "attack",
    version=1,
    paper="https://doi.org/10.1007/978-3-030-61609-0_6",
    norms=("l0",),
    budget="minimal",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    stops="drawing",
)
def few_pixel(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    pixels: Count = 1,
    gradient: Literal["log_odds", "head"] = "log_odds",
    combinations_per_pass: Count = 8,
) -> tuple[Images, Steps]:
    """Few-pixel attack, https://doi.org/10.1007/978-3-030-61609-0_6: all {0, 1} values of the top `pixels` pixels.

    Beckova, Pocos and Farkas 2020. Pixels are ranked once, on the clean image, by the mean over channels of
    |gradient|. First the top pixel, then the top two, up to `pixels`, takes every combination of 0 and 1 in every
    channel: 2^n of them on a grey image, 2^(3n) on one with three channels. Returned is the first combination that
    fools, so the fewest pixels do it, else the one with the smallest margin. Steps are the combinations tried, up to
    the one that fools; what is evaluated is a multiple of `combinations_per_pass`, or a level's last few.

    Pixels of equal rank go by position, row by row. The published ranking is gradient: head, the plain gradient of
    the loss, which is exactly 0 everywhere on a saturated image, so that position alone decides; log_odds ranks by
    a gradient that the head does not saturate (the network's own hidden units still may).
    """
    slope, scores, fools = _first_look(model, images, labels, gradient)
    ranking = slope.abs().mean(1).flatten(1).argsort(dim=1, descending=True, stable=True)[:, :pixels]
    best, margin, tried = images.clone(), torch.full_like(scores[:, 0], torch.inf), torch.zeros_like(labels)
    rows = torch.nonzero(~fools)[:, 0]
    for values in _combinations(model, images, ranking.shape[1], combinations_per_pass):
        if len(rows) == 0:
            break
        count, own = len(values), rows.repeat_interleave(len(values))
        candidates = _painted(images[rows], ranking[rows], values)
        view = model.at(own)
        scores, share = view.looks(candidates, labels[own])
        fools = view.confirmed(candidates, labels[own], share >= 1).view(-1, count)
        margins = view.margins(scores, labels[own]).view(-1, count)
        fooled, first = fools.max(1)
        least, lowest = margins.min(1)
        place = torch.where(fooled, first, lowest)
        better = fooled | (least < margin[rows])
        chosen = candidates[torch.arange(len(rows), device=rows.device) * count + place]
        best[rows] = torch.where(rowwise(better, chosen), chosen, best[rows])
        margin[rows] = torch.minimum(least, margin[rows])
        tried[rows] += torch.where(fooled, first + 1, count)
        rows = rows[~fooled]
    return best, tried


def _first_look(
    model: CountedModel, images: Images, labels: Labels, gradient: Gradient
) -> tuple[Tensor, Scores, Tensor]:
    """The gradient at the images, the scores there, and whether the images fool as they are."""
    seen = [model.ascent(images, labels, gradient) for _ in range(_RANKING_LOOKS if model.is_wavering else 1)]
    slopes, scores = zip(*seen, strict=True)
    fools = torch.stack([model.fooled(each, labels) for each in scores]).all(0)
    return torch.stack(slopes).mean(0), scores[0], fools


def _combinations(model: CountedModel, images: Images, pixels: int, at_once: int) -> Iterator[Tensor]:
    """Values for the top pixel, then for the top two, and so on: (at most `at_once`, channels, pixels) at a time."""
    channels = images.shape[1]
    black = model.inputs(images.new_zeros(1, channels, 1, 1)).view(1, channels, 1)
    white = model.inputs(images.new_ones(1, channels, 1, 1)).view(1, channels, 1)
    for count in range(1, pixels + 1):
        digits = torch.arange(channels * count, device=images.device).view(1, channels, count)
        for first in range(0, 1 << channels * count, at_once):
            last = min(first + at_once, 1 << channels * count)
            code = torch.arange(first, last, device=images.device).view(-1, 1, 1)
            yield torch.where((code >> digits) % 2 == 1, white, black)


def _painted(images: Images, ranking: Tensor, values: Tensor) -> Images:
    """Every image with its top pixels set to each combination: (images * combinations, channels, height, width)."""
    count, channels, pixels = values.shape
    flat = images.flatten(2)[:, None].repeat(1, count, 1, 1)
    place = ranking[:, None, None, :pixels].expand(-1, count, channels, -1)
    flat.scatter_(3, place, values.expand(len(images), -1, -1, -1))
    return flat.view(-1, *images.shape[1:])
