"""What a worker does: load, compute, commit. Knows the store and the tasks, nothing of Ray or of the run around it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa
from safetensors.torch import save

from grid.ranges import Range
from grid.store.cells import name_weights
from grid.store.store import Store
from grid.work.attempt import Settings, Task
from grid.work.training import train_cell
from grid.work.worker import open_store, order_of, provenance, root_of, samples_of, signed, state_of, trained
from tasks.config import Case, canonical
from tasks.judge import attack_samples
from tasks.model import kept_split
from tasks.needs import is_prepared
from tasks.prepare import prepare_attack
from tasks.probe import probe_samples
from tasks.types import DataError


def perform(task: Task, settings: Settings) -> float:
    """Do one task; returns its seconds. Raises whatever goes wrong."""
    begun = time.perf_counter()
    store = open_store(settings.store)
    match task:
        case Task("train", cell):
            train_cell(store, cell, settings, dict(task.traced))
        case Task("attack" | "probe", _, Case() as case, Range() as positions):
            run_shard(store, case, positions, settings)
        case Task("prepare", _, Case() as case):
            prepare_case(store, case, settings)
        case Task("compact", _, Case() as case):
            store.shards.merge(case.id)
    return time.perf_counter() - begun


def run_shard(store: Store, case: Case, positions: Range, settings: Settings) -> None:
    """Attack or probe the samples at these positions of the case's order and commit their rows."""
    model, weights = trained(store, case.cell, settings)
    source, seen_weights = trained(store, case.source, settings) if case.source else (None, weights)
    given = samples_of(case, positions, root_of(settings))
    if case.under.kind == "probe":
        work: Callable[..., pa.Table] = partial(probe_samples, model, case, *given)
    else:
        state = state_of(settings.store, case.prepared_id, seen_weights) if is_prepared(case) else None
        work = partial(attack_samples, model, case, *given, state=state)
    rows = work(source=source, batch_size=settings.batch_size, fixed_batch=settings.fixed_batch)
    made_with = name_weights(weights, seen_weights) if case.source else weights
    store.shards.save(case.id, positions, signed(rows, case.cell, settings), made_with, canonical(case.resolved()))


def prepare_case(store: Store, case: Case, settings: Settings) -> None:
    """Make and commit what the attack of a case needs before its first sample. Does nothing if it is there."""
    root, cell, component = root_of(settings), case.seen, case.attack.component
    model, weights = trained(store, cell, settings)
    if store.prepared.facts(case.prepared_id, weights) is not None:
        return
    begun = time.perf_counter()
    name = str(component.parameters["fit_split"])
    split = kept_split(cell.dataset, name, root)
    asked = component.parameters["fit_samples"]
    count = asked if isinstance(asked, int) else len(split.labels)
    if count > len(split.labels):
        raise DataError(f"{cell.dataset.name}: fit_samples is {count}, but its {name} split has {len(split.labels)}")
    samples = order_of(len(split.labels), case.order)[:count]
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
        **provenance(settings),
    }
    state = save({name: tensor.cpu().contiguous() for name, tensor in made.state.items()})
    store.prepared.save(case.prepared_id, state, weights, facts)
