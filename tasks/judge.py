"""The judge: runs an attack on the samples of a shard, then finds out for itself what came of it.

An attack's own claim is never recorded. What it returns is refused if it has the wrong shape, is partly not finite,
or lies outside box or budget; else the model predicts it afresh and the distances are measured here. An attack may
return an image that is NaN throughout, which says that for this sample nothing came back.

Knows nothing of files, Ray, runs or where the rows go.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa
import torch
from torch import Tensor, nn

from tasks import registry
from tasks.config import Case
from tasks.metrics import CountedModel, classifier, distances, frozen, margins, refuse_broken, rowwise, scores_of
from tasks.schema import SAMPLES
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Scores, Steps

MEASURED = pa.schema([SAMPLES.field(index) for index in range(SAMPLES.get_field_index("seconds") + 1)])
"""The columns that the judge fills; the others say where it ran."""

_BOX_ROUNDING = 1e-5
_ALWAYS = ("steps", "forwards", "backwards", "seconds")
"""Columns that an attacked sample has even if nothing came back."""
_NAMES = {"pred": "adv_pred", "confidence": "adv_confidence", "margin": "adv_margin"}

Columns = dict[str, Tensor]


def attack_samples(
    model: nn.Module,
    case: Case,
    images: Images,
    labels: Labels,
    samples: Tensor,
    *,
    batch_size: int,
    fixed_batch: int | None = None,
) -> pa.Table:
    """Attack the samples of a shard: one row each, in the given order, with the columns of `MEASURED`.

    `images`: (n, channels, height, width), uint8 in 0..255 or floats in [0, 1]; `samples`: indices in the split,
    (n,) int64. Only what the model classifies correctly is attacked. `batch_size` and `fixed_batch` (see
    `CountedModel`) change no random draw; CUDA running out of memory halves the batch. Raises AttackError or
    ModelError, naming the sample.
    """
    if len(samples) == 0:
        return MEASURED.empty_table()
    like = next(iter([*model.parameters(), *model.buffers()]))
    pixels = images.to(like.device, like.dtype) / (1 if images.is_floating_point() else 255)
    labels, samples = (given.to(like.device, torch.int64) for given in (labels, samples))
    trial = _Trial(model, case, fixed_batch)
    with frozen(model), _untouched(model, trial.name):
        clean = in_batches(
            lambda part: trial.predict(pixels[part], labels[part], samples[part]), len(samples), batch_size
        )
        rows = torch.nonzero(clean["pred"] == labels.cpu())[:, 0]
        own = [given[rows.to(like.device)] for given in (pixels, labels, samples)]
        found = in_batches(lambda part: trial.attack(*(given[part] for given in own)), len(rows), batch_size)
    return _table(case, samples.cpu(), labels.cpu(), clean, rows, found)


def in_batches(work: Callable[[slice], Columns], count: int, batch_size: int) -> Columns:
    """Call `work` on consecutive slices of 0..count and join its columns, on the CPU; {} for no samples.

    When CUDA runs out of memory the batch is halved, down to one, and the work goes on where it was.
    """
    done: list[Columns] = []
    start = 0
    while start < count:
        stop = min(start + batch_size, count)
        try:
            done.append({name: column.cpu() for name, column in work(slice(start, stop)).items()})
            start = stop
        except torch.OutOfMemoryError:
            if stop - start == 1:
                raise
            batch_size = (stop - start + 1) // 2
            torch.cuda.empty_cache()
    return {name: torch.cat([columns[name] for columns in done]) for name in (done[0] if done else ())}


class _Trial:
    """One model under one attack."""

    def __init__(self, model: nn.Module, case: Case, fixed_batch: int | None) -> None:
        self.model = model
        self.case = case
        self.budget = case.attack.budget
        self.name = case.attack.component.name
        self.fixed_batch = fixed_batch
        self.num_classes = 0

    def predict(self, pixels: Images, labels: Labels, samples: Tensor) -> Columns:
        with torch.no_grad():
            scores: Scores = scores_of(self.model, pixels, self.fixed_batch)
            refuse_broken(scores.double().mul(0).sum(1), samples)
            predicted = scores.argmax(1)
            confidence = classifier(self.model).log_probabilities(scores).gather(1, predicted[:, None]).exp()[:, 0]
        self.num_classes = scores.shape[1]
        return {"pred": predicted, "confidence": confidence, "margin": margins(scores, labels)}

    def attack(self, pixels: Images, labels: Labels, samples: Tensor) -> Columns:
        counted = CountedModel(
            self.model, samples, self.budget, num_classes=self.num_classes, fixed_batch=self.fixed_batch
        )
        inputs = counted.inputs(pixels)
        started = time.perf_counter()
        returned, steps = self._call(counted, inputs, labels, samples)
        arrived = self._arrived(returned, steps, inputs, samples)
        seconds = time.perf_counter() - started
        returned = torch.where(rowwise(arrived, inputs), returned.detach(), inputs)
        images = self._inside(returned, inputs, samples, counted)
        return {
            **self.predict(counted.pixels(images), labels, samples),
            **distances(images, inputs),
            "arrived": arrived,
            "steps": steps,
            "forwards": counted.forwards,
            "backwards": counted.backwards,
            "seconds": torch.full(steps.shape, seconds / len(steps), dtype=torch.float64),
        }

    def _call(self, model: CountedModel, inputs: Images, labels: Labels, samples: Tensor) -> tuple[Images, Steps]:
        component = self.case.attack.component
        function = registry.load("attack", component.name)
        given = inputs.clone(), labels.clone()
        try:
            with torch.enable_grad():
                returned, steps = function(
                    model, *given, self.budget, Streams(self.case.id, samples), **component.parameters
                )
        except Exception:
            model.check()  # scores that are not finite are the likelier cause of whatever went wrong
            raise
        model.check()
        if not (torch.equal(given[0], inputs) and torch.equal(given[1], labels)):
            raise AttackError(f"{self.name} changed the images or labels it was given (first sample {samples[0]})")
        return returned, steps

    def _arrived(self, returned: Images, steps: Steps, inputs: Images, samples: Tensor) -> Tensor:
        """Whether an image came back, (n,). Raises AttackError where shape, type or values are none of an image."""
        for what, got, due in (("images", returned, inputs), ("steps", steps, samples)):
            if _kind(got) != _kind(due):
                raise AttackError(
                    f"{self.name} returned {what} {_kind(got)} instead of {_kind(due)} (first sample {samples[0]})"
                )
        absent = returned.isnan().flatten(1).all(1)
        torn = ~returned.isfinite().flatten(1).all(1) & ~absent
        if bool(torn.any()):
            raise AttackError(f"{self.name} returned values that are not finite for sample {samples[torn][0]}")
        return ~absent

    def _inside(self, images: Images, clean: Images, samples: Tensor, model: CountedModel) -> Images:
        """The images, clipped exactly to the box. Raises AttackError beyond rounding of box or budget."""
        low, high = model.box
        excess = torch.maximum(low - images, images - high).flatten(1).amax(1)
        self._refuse(excess, _BOX_ROUNDING, "out of the box by", samples)
        images = images.clamp(low, high)
        if self.budget.enforced and self.budget.eps is not None:
            distance = distances(images, clean)[self.budget.norm]
            limit = self.budget.eps * (1 + 1e-4) + 1e-6
            self._refuse(distance, limit, f"over its budget eps = {self.budget.eps}: {self.budget.norm} is", samples)
        return images

    def _refuse(self, measured: Tensor, limit: float, what: str, samples: Tensor) -> None:
        worst = measured.argmax()
        if bool(measured[worst] > limit):
            raise AttackError(f"{self.name} on sample {samples[worst]}: {what} {float(measured[worst]):.6g}")


def _kind(thing: object) -> str:
    if not isinstance(thing, Tensor):
        return type(thing).__name__
    return f"{tuple(thing.shape)} {thing.dtype} on {thing.device}"


@contextmanager
def _untouched(model: nn.Module, attack: str) -> Iterator[None]:
    """Undo whatever an attack changes in a frozen model, and raise AttackError if it changed anything."""
    before = {name: (tensor, tensor.detach().clone(), tensor.grad) for name, tensor in _tensors(model)}
    changed: list[str] = []
    try:
        yield
    finally:
        changed += [f"requires_grad of {name}" for name, tensor in _tensors(model) if tensor.requires_grad]
        changed += [f"mode of {type(module).__name__}" for module in model.modules() if module.training]
        for name, (tensor, values, gradient) in before.items():
            if not torch.equal(tensor, values):
                changed.append(name)
                tensor.data.copy_(values)
            if tensor.grad is not gradient:
                changed.append(f"gradient of {name}")
                tensor.grad = gradient
    if changed:
        raise AttackError(f"{attack} changed the model: {', '.join(changed[:5])}")


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _table(case: Case, samples: Tensor, labels: Labels, clean: Columns, rows: Tensor, found: Columns) -> pa.Table:
    attacked = torch.zeros(len(samples), dtype=torch.bool).index_fill_(0, rows, 1)
    arrived = found.pop("arrived", attacked[rows])
    success = torch.zeros_like(attacked).index_copy_(0, rows, arrived & (found.get("pred", rows) != labels[rows]))
    known = {
        "sample": samples,
        "label": labels,
        "clean_correct": clean["pred"] == labels,
        "attacked": attacked,
        "success": success,
        **{f"clean_{name}": column for name, column in clean.items()},
    }
    columns = {name: pa.array(column.numpy()) for name, column in known.items()}
    columns["case_id"] = pa.array([case.id] * len(samples))
    if "seconds" in found:
        found["seconds"] = found["seconds"].mean().expand(len(rows))
    for name, column in found.items():
        kept = torch.ones_like(arrived) if name in _ALWAYS else arrived
        columns[_NAMES.get(name, name)] = _sparse(column, kept & column.isfinite(), rows, len(samples))
    absent = pa.nulls(len(samples))
    return pa.table([columns.get(field.name, absent).cast(field.type) for field in MEASURED], schema=MEASURED)


def _sparse(values: Tensor, valid: Tensor, rows: Tensor, count: int) -> pa.Array:
    """The valid values at their rows, and null elsewhere."""
    full = torch.zeros(count, dtype=values.dtype).index_copy_(0, rows, values)
    null = torch.ones(count, dtype=torch.bool).index_copy_(0, rows, ~valid)
    return pa.array(full.numpy(), mask=null.numpy())
