"""What a worker does to train a cell: go on from where a lost one was, look at every epoch, commit.

Knows the store and the tasks, nothing of Ray or of the run around it.
"""

import hashlib
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from safetensors.torch import save

from grid.ranges import Range, subtract
from grid.store.store import Store
from grid.work.bench import Bench
from tasks.cases import Case
from tasks.config import Cell, canonical
from tasks.model import Classifier, build_model
from tasks.needs import Base, base_of
from tasks.probe import probe_samples
from tasks.training.batches import on
from tasks.training.evaluation import accuracy
from tasks.training.loop import Epoch
from tasks.training.train import train
from tasks.types import StateError, TaskError

KEEP_SECONDS = 30.0
"""The state of a training is kept after the first epoch that ends so long after the last was."""
_KEEP_SHARE = 20
"""Keeping states takes no more than one part in so many of the time."""
_TELL_SECONDS = 1.0
"""How often a training says how far it is."""


def train_cell(bench: Bench, cell: Cell, traced: Mapping[Case, int]) -> None:
    """Train a cell and commit its weights, its history and the facts about it. Does nothing if all is there.

    `traced` are the probes of every epoch, with how many samples each wants; for them a cell that is there is trained
    once more, and has to come out the same. Raises what `train` raises.
    """
    store = bench.store
    weights = store.cells.digest(cell.id)
    missing = {case: count for case, count in traced.items() if weights is None or _lacks(store, case, count, weights)}
    if weights is not None and not missing:
        return
    begun = time.perf_counter()
    watch = _Watch(bench, cell, missing)
    model, history = _made(bench, cell, watch)
    raw = save({name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()})
    found = hashlib.sha256(raw).hexdigest()
    if weights is None:
        store.cells.save(cell.id, raw, history, _facts(bench, cell, model, history, begun - watch.seconds_before))
    elif weights != found:
        raise TaskError(
            f"cell {cell.id} is there already, and trained again for a probe of every epoch it came out otherwise: on "
            f"another device, or with another number of threads. Ask for the probe before the cell is trained."
        )
    watch.commit(found)
    store.trainings.forget(cell.id)


def _facts(bench: Bench, cell: Cell, model: Classifier, history: pa.Table, begun: float) -> dict[str, object]:
    """What is recorded of a trained cell; `begun` by the clock that counts its seconds."""
    return {
        "cell_id": cell.id,
        "cell": cell.resolved(),
        "train_accuracy": history["train_accuracy"][-1].as_py(),
        # Of the weights that are kept, which need not be those of the last epoch.
        "test_accuracy": accuracy(model, on(bench.device, bench.split(cell.dataset, "test"))),
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": time.perf_counter() - begun,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **bench.provenance,
    }


def _made(bench: Bench, cell: Cell, watch: "_Watch") -> tuple[Classifier, pa.Table]:
    """The trained model and its history."""
    base = base_of(cell)
    before = bench.trained(base.cell)[0] if base else None
    if base and before and base.role == "weights":
        if watch.wanted:
            raise TaskError("a cell that is only evaluated otherwise has no epochs: ask the cell it is trained as")
        return _evaluated(bench, cell, base, before)
    start = before if base and base.role == "start" else None
    teacher = before if base and base.role == "teacher" else None
    try:
        return train(cell, bench.root, bench.device, watch, state=watch.resume(), start=start, teacher=teacher)
    except StateError as error:
        watch.begin_anew(str(error))
        return train(cell, bench.root, bench.device, watch, start=start, teacher=teacher)


def _evaluated(bench: Bench, cell: Cell, base: Base, before: Classifier) -> tuple[Classifier, pa.Table]:
    """A cell with the weights of another, from which only its evaluation differs."""
    model = build_model(cell, bench.split(cell.dataset, "test"))
    model.load_state_dict(before.state_dict())
    return model.to(bench.device).eval(), bench.store.cells.history(base.cell.id)


def _lacks(store: Store, case: Case, count: int, weights: str) -> bool:
    return bool(subtract(count, [file.positions for file in store.shards.inventory(case.id, weights).whole]))


class _Watch:
    """Looks at a training after each epoch: tells how far it is, measures, keeps its state now and then."""

    def __init__(self, bench: Bench, cell: Cell, wanted: Mapping[Case, int]) -> None:
        self.wanted = wanted
        self._bench, self._cell = bench, cell
        self._store = bench.store
        self._traced: dict[str, pa.Table] = {}
        self.seconds_before = 0.0
        """What the epochs took that a worker made which was lost."""
        self._last_epoch: int | None = None
        self._told = 0.0
        self._kept = self._begun = time.monotonic()
        self._pause = KEEP_SECONDS

    def resume(self) -> bytes | None:
        """The state of a training that was cut off, if there is one whose measures are of as many samples."""
        state, traced = self._store.trainings.kept(self._cell.id, [case.id for case in self.wanted])
        if any(
            pc.count_distinct(traced[case.id]["sample"]).as_py() != count
            for case, count in self.wanted.items()
            if state
        ):
            return None
        self._traced = traced
        return state

    def begin_anew(self, reason: str) -> None:
        """Set aside a state that nothing can go on from."""
        aside = self._store.trainings.set_aside(self._cell.id)
        sys.stderr.write(f"{reason}; set aside as {aside}, and the training begins anew\n")
        self._traced = {}

    def __call__(self, epoch: Epoch) -> None:
        if self._last_epoch is None:
            self.seconds_before = sum(row["seconds"] or 0.0 for row in epoch.history[:-1])
            # What was found in epochs beyond the state that was kept is found again.
            self._traced = {case: rows.filter(pc.field("epoch") < epoch.number) for case, rows in self._traced.items()}
        self._last_epoch = epoch.number
        for case, count in self.wanted.items():
            rows = self._measured(case, count, epoch)
            self._traced[case.id] = pa.concat_tables([*filter(None, [self._traced.get(case.id)]), rows])
        self._tell(epoch)
        now = time.monotonic()
        if now - self._kept >= self._pause and epoch.number < epoch.epochs:
            self._store.trainings.keep(self._cell.id, epoch.state(), self._traced)
            self._kept = time.monotonic()
            self._pause = max(KEEP_SECONDS, _KEEP_SHARE * (self._kept - now))

    def commit(self, weights: str) -> None:
        """Commit what was measured, each case as one file: the rows of a sample together, epoch after epoch."""
        for case, count in self.wanted.items():
            rows = self._traced[case.id]
            epochs = len(pc.unique(rows["epoch"]))
            order = np.arange(len(rows)).reshape(epochs, count, -1).swapaxes(0, 1).reshape(-1)
            signed_rows = self._bench.signed(rows.take(order), self._cell)
            self._store.shards.save(case.id, Range(0, count), signed_rows, weights, canonical(case.resolved()))

    def _measured(self, case: Case, count: int, epoch: Epoch) -> pa.Table:
        images, labels, samples = self._bench.samples_of(case, Range(0, count))
        return probe_samples(
            epoch.model,
            case,
            images,
            labels,
            samples,
            batch_size=self._bench.batch_size,
            fixed_batch=self._bench.fixed_batch,
            epoch=epoch.number,
        )

    def _tell(self, epoch: Epoch) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_SECONDS:
            self._told = now
            said = {"epoch": epoch.number, "epochs": epoch.epochs, **epoch.history[-1]}
            self._store.trainings.tell(self._cell.id, {**said, "time": datetime.now(UTC).isoformat(timespec="seconds")})
