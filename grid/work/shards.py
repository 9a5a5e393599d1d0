"""What a worker does: load, compute, commit. Knows the store and the tasks, nothing of Ray or of the run around it."""

import time
from datetime import UTC, datetime

from safetensors.torch import save

from grid.plan.expand import needs_preparing
from grid.ranges import Range
from grid.store.store import Store
from grid.work.attempt import Settings, Task
from grid.work.training import train_cell
from grid.work.worker import open_store, order_of, provenance, root_of, samples_of, signed, state_of, trained
from tasks.config import Case, ProbeCase, canonical
from tasks.judge import attack_samples
from tasks.model import kept_split
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
        case Task("attack", _, Case() as case, Range() as positions):
            attack_shard(store, case, positions, settings)
        case Task("probe", _, ProbeCase() as case, Range() as positions):
            probe_shard(store, case, positions, settings)
        case Task("prepare", _, Case() as case):
            prepare_case(store, case, settings)
        case Task("compact", _, Case() | ProbeCase() as case):
            store.compact(case.id)
    return time.perf_counter() - begun


def probe_shard(store: Store, case: ProbeCase, positions: Range, settings: Settings) -> None:
    """Measure the samples at these positions of the case's order and commit the rows."""
    root = root_of(settings)
    model, weights = trained(store, case.cell, settings)
    source, source_weights = trained(store, case.source, settings) if case.source else (None, None)
    rows = probe_samples(
        model,
        case,
        *samples_of(case, positions, root),
        batch_size=settings.batch_size,
        fixed_batch=settings.fixed_batch,
        source=source,
    )
    made_with = f"{weights}+{source_weights}" if source_weights else weights
    store.save_shard(case.id, positions, signed(rows, case.cell, settings), made_with, canonical(case.resolved()))


def attack_shard(store: Store, case: Case, positions: Range, settings: Settings) -> None:
    """Attack the samples at these positions of the case's order and commit their rows."""
    root = root_of(settings)
    model, weights = trained(store, case.cell, settings)
    source, source_weights = trained(store, case.source, settings) if case.source else (None, None)
    state = None
    if needs_preparing(case):
        state = state_of(settings.store, case.prepared_id, source_weights or weights)
    rows = attack_samples(
        model,
        case,
        *samples_of(case, positions, root),
        batch_size=settings.batch_size,
        fixed_batch=settings.fixed_batch,
        source=source,
        state=state,
    )
    made_with = f"{weights}+{source_weights}" if source_weights else weights
    store.save_shard(case.id, positions, signed(rows, case.cell, settings), made_with, canonical(case.resolved()))


def prepare_case(store: Store, case: Case, settings: Settings) -> None:
    """Make and commit what the attack of a case needs before its first sample. Does nothing if it is there."""
    root, cell, component = root_of(settings), case.seen, case.attack.component
    model, weights = trained(store, cell, settings)
    if store.prepared_facts(case.prepared_id, weights) is not None:
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
    store.save_prepared(case.prepared_id, state, weights, facts)
