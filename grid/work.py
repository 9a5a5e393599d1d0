"""What a worker does: load, compute, commit. Knows the store and the tasks, nothing of Ray or of the run around it."""

import json
import os
import platform
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal

import pyarrow as pa
import torch
from safetensors.torch import load, save
from torch import Tensor

from grid import __version__
from grid.attempt import Settings, Task
from grid.expand import needs_preparing
from grid.ranges import Range
from grid.store import Store
from tasks.config import Case, Cell, Component, canonical
from tasks.judge import attack_samples
from tasks.model import Classifier, build_model, load_split
from tasks.prepare import prepare_attack
from tasks.streams import sample_order
from tasks.training import Data, accuracy, train
from tasks.types import DataError, DataRoot, ModelError, Split


@dataclass(frozen=True)
class Place:
    """Where this worker is: what every row it makes records."""

    worker: str = f"{socket.gethostname()}:{os.getpid()}"
    gpu: str | None = None
    ray: str | None = None


_place = Place()


def settle(place: Place | None = None, threads: int | None = None) -> None:
    """Once per worker, before any task: remember the place, and make torch's arithmetic repeatable."""
    global _place  # noqa: PLW0603 - one process is one worker
    _place = place or Place()
    if threads:
        torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def perform(task: Task, settings: Settings) -> float:
    """Do one task; returns its seconds. Raises whatever goes wrong."""
    begun = time.perf_counter()
    store = _store(settings.store)
    if task.kind == "train":
        train_cell(store, task.cell, settings)
    elif task.kind == "attack" and task.case and task.positions:
        attack_shard(store, task.case, task.positions, settings)
    elif task.kind == "prepare" and task.case:
        prepare_case(store, task.case, settings)
    elif task.case:
        store.compact(task.case.id)
    return time.perf_counter() - begun


def train_cell(store: Store, cell: Cell, settings: Settings) -> None:
    """Train a cell and commit its weights, its history and the facts about it. Does nothing if it is there."""
    if store.cell_facts(cell.id) is not None:
        return
    begun = time.perf_counter()
    root, device = _root(settings), _device()
    model, history = train(cell, root, device)
    test = _split(cell.dataset, root)
    facts = {
        "cell_id": cell.id,
        "cell": cell.resolved(),
        "train_accuracy": history["train_accuracy"][-1].as_py(),
        # Of the weights that are kept, which need not be those of the last epoch.
        "test_accuracy": accuracy(model, Data(test.images.to(device), test.labels.to(device))),
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": time.perf_counter() - begun,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **_provenance(settings),
    }
    weights = save({name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()})
    store.save_cell(cell.id, weights, history, facts)


def attack_shard(store: Store, case: Case, positions: Range, settings: Settings) -> None:
    """Attack the samples at these positions of the case's order and commit their rows."""
    root = _root(settings)
    model, weights = _trained(store, case.cell, settings)
    source, source_weights = _trained(store, case.source, settings) if case.source else (None, None)
    state = None
    if needs_preparing(case):
        state = _state(settings.store, case.prepared_id, source_weights or weights)
    split = _split(case.cell.dataset, root)
    order = _order(len(split.labels), case.order)
    if positions.stop > len(order):
        raise DataError(
            f"{case.cell.dataset.name}: position {positions.stop - 1} of the test split is asked for, but it has "
            f"{len(order)} images: lower samples.count"
        )
    samples = order[positions.start : positions.stop]
    rows = attack_samples(
        model,
        case,
        split.images.index_select(0, samples),
        split.labels.index_select(0, samples),
        samples,
        batch_size=settings.batch_size,
        fixed_batch=settings.fixed_batch,
        source=source,
        state=state,
    )
    provenance = {**_provenance(settings), "seed": case.cell.seed}
    for name, value in provenance.items():
        kind = pa.int64() if name == "seed" else pa.string()
        rows = rows.append_column(name, pa.repeat(pa.scalar(value, kind), len(rows)))
    made_with = f"{weights}+{source_weights}" if source_weights else weights
    store.save_shard(case.id, positions, rows, made_with, canonical(case.resolved()))


def prepare_case(store: Store, case: Case, settings: Settings) -> None:
    """Make and commit what the attack of a case needs before its first sample. Does nothing if it is there."""
    root, cell, component = _root(settings), case.seen, case.attack.component
    model, weights = _trained(store, cell, settings)
    if store.prepared_facts(case.prepared_id, weights) is not None:
        return
    begun = time.perf_counter()
    name = str(component.parameters["fit_split"])
    split = _split(cell.dataset, root, name)
    asked = component.parameters["fit_samples"]
    count = asked if isinstance(asked, int) else len(split.labels)
    if count > len(split.labels):
        raise DataError(f"{cell.dataset.name}: fit_samples is {count}, but its {name} split has {len(split.labels)}")
    samples = _order(len(split.labels), case.order)[:count]
    images, labels = split.images.index_select(0, samples), split.labels.index_select(0, samples)
    made = prepare_attack(
        model, case, images, labels, samples, num_classes=split.num_classes, fixed_batch=settings.fixed_batch
    )
    facts = {
        "prepared_id": case.prepared_id,
        "cell_id": cell.id,
        "attack": case.attack.resolved(),
        "facts": made.facts,
        "seconds": time.perf_counter() - begun,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **_provenance(settings),
    }
    state = save({name: tensor.cpu().contiguous() for name, tensor in made.state.items()})
    store.save_prepared(case.prepared_id, state, weights, facts)


def _trained(store: Store, cell: Cell, settings: Settings) -> tuple[Classifier, str]:
    facts = store.cell_facts(cell.id) or {}
    return _model(settings.store, cell, _root(settings), facts.get("weights_sha256"))


@lru_cache(maxsize=4)
def _state(location: str, prepared_id: str, weights: str) -> dict[str, Tensor]:
    found = load(_store(location).load_state(prepared_id, weights))
    return {name: tensor.to(_device()) for name, tensor in found.items()}


@lru_cache(maxsize=1)
def _store(location: str) -> Store:
    return Store(location)


@lru_cache(maxsize=4)
def _order(count: int, order: Literal["shuffled", "natural"]) -> Tensor:
    return sample_order(count, order)


@lru_cache(maxsize=4)
def _split(dataset: Component, root: DataRoot, name: str = "test") -> Split:
    return load_split(dataset, name, root)


@lru_cache(maxsize=4)
def _model(location: str, cell: Cell, root: DataRoot, present: str | None) -> tuple[Classifier, str]:
    """A trained cell, ready to be attacked, and the SHA-256 of its weights, which are to be the `present` ones."""
    del present  # only so that a cell whose weights have changed is loaded again
    raw, weights = _store(location).load_weights(cell.id)
    model = build_model(cell, _split(cell.dataset, root))
    try:
        model.load_state_dict(load(raw))
    except RuntimeError as error:
        raise ModelError(f"the stored weights of cell {cell.id} do not fit its architecture: {error}") from error
    return model.to(_device()).eval(), weights


def _root(settings: Settings) -> DataRoot:
    return DataRoot(Path(settings.data_root), settings.download)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _provenance(settings: Settings) -> dict[str, str | None]:
    return {
        "host": socket.gethostname(),
        "device": str(_device()),
        "gpu": _place.gpu,
        "worker": _place.worker,
        "versions": _versions(),
        "run_id": settings.run_id,
    }


@lru_cache(maxsize=1)
def _versions() -> str:
    versions = {
        "attackgrid": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "ray": _place.ray,
        "threads": torch.get_num_threads(),
    }
    return json.dumps(versions)
