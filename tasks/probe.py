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
from tasks.cases import Budget, Case
from tasks.compared import compare_passes
from tasks.counted import CountedModel
from tasks.given import Given, in_batches
from tasks.intact import intact
from tasks.metrics import frozen
from tasks.model import Classifier
from tasks.schema import MEASURES, without_provenance
from tasks.streams import Streams
from tasks.types import Columns, Images, Labels, Measure, ModelError

MEASURED = without_provenance(MEASURES)
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
    look = _Look(model, case, source, fixed_batch)
    begun = time.perf_counter()
    was_training = model.training
    model.eval()
    try:
        with ExitStack() as held:
            for module in {model, source or model}:
                held.enter_context(frozen(module))
                held.enter_context(intact(module, case.name))
                compare_passes(module, given.pixels[:2], given.samples[:2])
            columns = in_batches(lambda rows: look(given.at(rows)), len(given), batch_size)
    finally:
        model.train(was_training)
    seconds = (time.perf_counter() - begun) / max(1, len(given))
    return _rows(case, given.samples.cpu(), given.labels.cpu(), look.named, columns, epoch, seconds)


class _Look:
    """A probe of one model, batch by batch; `named` says what the measures of each batch are."""

    def __init__(self, model: Classifier, case: Case, source: Classifier | None, fixed_batch: int | None) -> None:
        component = case.probe.component
        self.named: list[Named] = []
        self._model, self._case, self._source, self._fixed_batch = model, case, source, fixed_batch
        self._component = component
        self._probe = registry.load("probe", component.name)
        self._is_sourced = registry.describe("probe", component.name).facts.sourced

    def __call__(self, part: Given) -> Columns:
        """The measures of a batch, by their numbers."""
        seen = self._counted(self._model, part, "model")
        looked_at = []
        if self._is_sourced:
            looked_at = [seen if self._source is None else self._counted(self._source, part, "source")]
        given = part.pixels.clone(), part.labels.clone(), Streams(self._case.id, part.samples)
        found = self._probe(seen, *given, *looked_at, **self._component.parameters)
        for each in {seen, *looked_at}:
            each.check()
        shapes = _named(self._component.name, found, len(part))
        if self.named and shapes != self.named:
            raise ModelError(f"{self._component.name}: measured {shapes} of one batch, and {self.named} of another")
        self.named = shapes
        return {str(number): measure.values.detach().float() for number, measure in enumerate(found)}

    def _counted(self, module: Classifier, part: Given, key: str) -> CountedModel:
        noise, classes = Streams(f"{self._case.id}/{key}", part.samples), module.num_classes
        return CountedModel(
            module,
            part.samples,
            _BUDGET,
            num_classes=classes,
            noise=noise,
            fixed_batch=self._fixed_batch,
            by=self._component.name,
        )


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
