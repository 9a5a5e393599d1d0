"""What a worker does for a case: attack or probe a shard, prepare an attack. Load, compute, commit.

Knows the store and the tasks, nothing of Ray or of the run around it.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa
from safetensors.torch import save
from torch import Tensor

from grid.ranges import Range
from grid.store.cells import name_weights
from grid.work.bench import Bench, order_of
from grid.work.task import Task
from grid.work.training import train_cell
from tasks.cases import Case
from tasks.config import canonical
from tasks.judge import attack_samples
from tasks.needs import is_prepared
from tasks.prepare import prepare_attack
from tasks.probe import probe_samples
from tasks.types import DataError, Split


def perform(task: Task, bench: Bench) -> float:
    """Do one task; returns its seconds. Raises whatever goes wrong."""
    begun = time.perf_counter()
    match task:
        case Task("train", cell):
            train_cell(bench, cell, dict(task.traced))
        case Task("attack" | "probe", _, Case() as case, Range() as positions):
            run_shard(bench, case, positions)
        case Task("prepare", _, Case() as case):
            prepare_case(bench, case)
        case Task("merge", _, Case() as case):
            bench.store.shards.merge(case.id)
    return time.perf_counter() - begun


def run_shard(bench: Bench, case: Case, positions: Range) -> None:
    """Attack or probe the samples at these positions of the case's order and commit their rows."""
    model, weights = bench.trained(case.cell)
    source, seen_weights = bench.trained(case.source) if case.source else (None, weights)
    given = bench.samples_of(case, positions)
    if case.under.kind == "probe":
        work: Callable[..., pa.Table] = partial(probe_samples, model, case, *given)
    else:
        state = bench.state_of(case.prepared_id, seen_weights) if is_prepared(case) else None
        work = partial(attack_samples, model, case, *given, state=state)
    rows = work(source=source, batch_size=bench.batch_size, fixed_batch=bench.fixed_batch)
    made_with = name_weights(weights, seen_weights) if case.source else weights
    bench.store.shards.save(case.id, positions, bench.signed(rows, case.cell), made_with, canonical(case.resolved()))


def prepare_case(bench: Bench, case: Case) -> None:
    """Make and commit what the attack of a case needs before its first sample. Does nothing if it is there."""
    cell = case.seen
    model, weights = bench.trained(cell)
    if bench.store.prepared.facts(case.prepared_id, weights) is not None:
        return
    begun = time.perf_counter()
    split = bench.split(cell.dataset, str(case.attack.component.parameters["fit_split"]))
    given = _fitted_to(case, split)
    made = prepare_attack(model, case, *given, num_classes=split.num_classes, fixed_batch=bench.fixed_batch)
    facts = {
        "prepared_id": case.prepared_id,
        "cell_id": cell.id,
        "attack": case.attack.resolved(),
        "facts": made.facts,
        "seconds": time.perf_counter() - begun,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **bench.provenance,
    }
    state = save({name: tensor.cpu().contiguous() for name, tensor in made.state.items()})
    bench.store.prepared.save(case.prepared_id, state, weights, facts)


def _fitted_to(case: Case, split: Split) -> tuple[Tensor, Tensor, Tensor]:
    """Images, labels and indices of the samples that the attack of a case is prepared with. Raises DataError."""
    parameters = case.attack.component.parameters
    there, asked = len(split.labels), parameters["fit_samples"]
    count = asked if isinstance(asked, int) else there
    if count > there:
        raise DataError(
            f"{case.seen.dataset.name}: fit_samples is {count}, but its {parameters['fit_split']} split has {there}"
        )
    samples = order_of(there, case.order)[:count]
    return split.images.index_select(0, samples), split.labels.index_select(0, samples), samples
