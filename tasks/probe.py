"""Runs a probe on the samples of a shard. Its numbers are stored as they come, sample by sample: SQL sums them up.

Knows nothing of files, Ray, runs or where the rows go.
"""

import time
from contextlib import ExitStack
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from tasks import registry
from tasks.config import Budget, Case
from tasks.counted import CountedModel
from tasks.given import Given, in_batches
from tasks.intact import intact
from tasks.metrics import frozen
from tasks.model import Classifier
from tasks.schema import MEASURES
from tasks.streams import Streams
from tasks.types import Columns, Images, Labels, Measure, ModelError

MEASURED = pa.schema([MEASURES.field(index) for index in range(MEASURES.get_field_index("seconds") + 1)])
"""The columns that are filled here; the others say where it ran."""

Named: TypeAlias = tuple[str | None, str, int | None]
"""Layer, name, and number of elements (None: it is about the whole image) of a measure."""

_BUDGET = Budget("l2", None)
"""A probe sees pixels in [0, 1], and has none."""


def probe_samples(
    model: Classifier,
    case: Case,
    images: Images,
    labels: Labels,
    samples: Tensor,
    *,
    batch_size: int,
    fixed_batch: int | None = None,
    epoch: int | None = None,
    source: Classifier | None = None,
) -> pa.Table:
    """Measure the samples of a shard: as many rows for each, in the order of the samples, with the columns of MEASURED.

    `images`: (n, channels, height, width), uint8 in 0..255 or floats in [0, 1]; `samples`: indices in the split,
    (n,) int64. `epoch` is the one after which the model is as it is; None for the model that is kept. `source` is the
    model that images are perturbed for, if not this one. CUDA running out of memory halves the batch. Raises
    ModelError where the model's scores are not finite or the probe broke its contract, AttackError where it changed
    the model.
    """
    given = Given.on(model.mean, images, labels, samples)
    component = case.probe.component
    probe = registry.load("probe", component.name)
    named: list[Named] = []

    sourced = bool(registry.describe("probe", component.name).facts.get("sourced"))

    def counted(module: Classifier, samples: Tensor, key: str) -> CountedModel:
        noise, classes = Streams(f"{case.id}/{key}", samples), module.num_classes
        return CountedModel(module, samples, _BUDGET, num_classes=classes, noise=noise, fixed_batch=fixed_batch)

    def work(rows: slice) -> Columns:
        part = given.at(rows)
        seen = counted(model, part.samples, "model")
        looked_at = [seen if source is None else counted(source, part.samples, "source")] if sourced else []
        streams = Streams(case.id, part.samples)
        found = probe(seen, part.pixels.clone(), part.labels.clone(), streams, *looked_at, **component.parameters)
        for each in {seen, *looked_at}:
            each.check()
        shapes = _named(component.name, found, len(part))
        if named and shapes != named:
            raise ModelError(f"{component.name}: measured {shapes} of one batch, and {named} of another")
        named[:] = shapes
        return {str(number): measure.values.detach().float() for number, measure in enumerate(found)}

    begun = time.perf_counter()
    was_training = model.training
    model.eval()
    try:
        with ExitStack() as held:
            for module in {model, source or model}:
                held.enter_context(frozen(module))
                held.enter_context(intact(module, component.name))
            columns = in_batches(work, len(given), batch_size)
    finally:
        model.train(was_training)
    seconds = (time.perf_counter() - begun) / max(1, len(given))
    return _rows(case, given.samples.cpu(), given.labels.cpu(), named, columns, epoch, seconds)


def _named(probe: str, found: list[Measure], count: int) -> list[Named]:
    """What the measures are. Raises ModelError where one is not of every image."""
    for measure in found:
        if len(measure.values) != count or measure.values.dim() not in {1, 2}:
            shape = tuple(measure.values.shape)
            raise ModelError(f"{probe}: {measure.name} has shape {shape} for {count} images")
    return [(each.layer, each.name, each.values.shape[1] if each.values.dim() == 2 else None) for each in found]


def _rows(
    case: Case,
    samples: Tensor,
    labels: Tensor,
    named: list[Named],
    columns: Columns,
    epoch: int | None,
    seconds: float,
) -> pa.Table:
    """A row for each sample, measure and element."""
    if not columns:
        return MEASURED.empty_table()
    values = torch.cat([column.flatten(1) if column.dim() > 1 else column[:, None] for column in columns.values()], 1)
    lines: list[tuple[str | None, str, int | None]] = []
    for layer, name, elements in named:
        lines += [(layer, name, element) for element in ([None] if elements is None else range(elements))]
    each, count = len(lines), len(samples)
    layers, names, elements = (pa.array([line[place] for line in lines] * count, MEASURES.field(field).type)
        for place, field in enumerate(("layer", "measure", "element")))  # fmt: skip
    flat = values.flatten().numpy()
    return pa.table(
        {
            "case_id": pa.repeat(case.id, count * each),
            "sample": samples.repeat_interleave(each).numpy(),
            "label": labels.int().repeat_interleave(each).numpy(),
            "epoch": pa.repeat(pa.scalar(epoch, pa.int32()), count * each),
            "layer": layers,
            "measure": names,
            "element": elements,
            "value": pa.array(flat, mask=np.isnan(flat)),
            "seconds": pa.repeat(pa.scalar(seconds, pa.float32()), count * each),
        },
        schema=MEASURED,
    )
