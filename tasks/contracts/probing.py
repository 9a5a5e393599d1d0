"""How a probe is tried: called as the harness calls it, in batches of any size.

Knows nothing of what a probe promises.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from tasks.cases import Budget
from tasks.contracts.intact import Held
from tasks.contracts.subject import Subject, require
from tasks.counted import CountedModel
from tasks.metrics import frozen
from tasks.streams import Streams
from tasks.types import Images, Labels, Measure

Measured = Mapping[tuple[str | None, str], Tensor]
"""A probe's values, a row for each image, by layer and measure."""
_BUDGET = Budget("l2", None)
"""A probe sees pixels in [0, 1], and has none."""


def measured(
    subject: Subject,
    model: nn.Module,
    images: Images,
    labels: Labels | None = None,
    *,
    samples: Tensor | None = None,
    batch_size: int = 64,
    fixed_batch: int | None = None,
    num_classes: int | None = None,
    source: nn.Module | None = None,
    held: Held = nullcontext,
) -> Measured:
    """Its values over all batches. The labels are what the model predicts, the samples are numbered from 100.

    `held` is what it is called inside of. Raises BrokenPromiseError where batches have other measures than others, or
    two measures are one.
    """
    with torch.no_grad():
        num_classes = num_classes or model(torch.zeros_like(images[:1])).shape[1]
        labels = model(images).argmax(1) if labels is None else labels
    samples = torch.arange(len(images)) + 100 if samples is None else samples

    def counted(module: nn.Module, part: slice) -> CountedModel:
        streams = Streams("one key", samples[part])
        how: dict[str, Any] = {"num_classes": num_classes, "noise": streams, "fixed_batch": fixed_batch}
        return CountedModel(module, samples[part], _BUDGET, **how)

    parts: list[list[Measure]] = []
    with frozen(model), held(model):
        for start in range(0, max(len(images), 1), batch_size):
            part = slice(start, start + batch_size)
            seen = counted(model, part)
            sources = [seen if source is None else counted(source, part)] if subject.facts.sourced else []
            parts.append(subject.make(seen, images[part], labels[part], Streams("one key", samples[part]), *sources))
            seen.check()
    return _joined(parts)


def _joined(parts: list[list[Measure]]) -> Measured:
    heads = [[(measure.layer, measure.name, measure.values.shape[1:]) for measure in part] for part in parts]
    require(all(head == heads[0] for head in heads), "it measured other things of one batch than of another")
    require(len({head[:2] for head in heads[0]}) == len(heads[0]), "it gave two measures of the same name and layer")
    return {
        (same[0].layer, same[0].name): torch.cat([measure.values for measure in same])
        for same in zip(*parts, strict=True)
    }
