"""A launch, from a spec and a store to an outcome: plan, record what is wanted, run, record the run."""

import os
import platform
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import FrameType

from grid import __version__
from grid.errors import GridError, StoreError
from grid.plan.asked import GridSpec
from grid.plan.costs import Costs
from grid.plan.expand import expand
from grid.plan.plan import Plan, Stored, make_plan
from grid.plan.wanted import Tables
from grid.ranges import Range
from grid.run.executor import Executor
from grid.run.loop import Outcome, Run
from grid.run.progress import Progress
from grid.store.cells import name_weights
from grid.store.store import Store
from grid.work.attempt import Settings
from tasks.config import Case, Cell, canonical


def stored_in(store: Store, on_broken: Callable[[str, str], None]) -> Stored:
    """What a store has, for a plan. `on_broken` is called with each file that is no result, and why."""
    with_shards = store.shards.cases()

    @cache
    def weights(cell: Cell) -> str | None:
        return store.cells.digest(cell.id)

    def positions(case: Case) -> list[Range]:
        if case.id not in with_shards:
            return []
        found = store.shards.inventory(case.id, name_weights(*map(weights, case.cells)))
        for path, reason in found.broken:
            on_broken(path, reason)
        return [file.positions for file in found.whole]

    @cache
    def is_there(prepared_id: str, cell: Cell) -> bool:
        found = weights(cell)
        return found is not None and store.prepared.facts(prepared_id, found) is not None

    return Stored(
        positions,
        trained=lambda cell: weights(cell) is not None,
        prepared=lambda case: is_there(case.prepared_id, case.seen),
        is_empty=not store.exists(),
    )


def launch(
    spec: GridSpec,
    store: Store,
    open_executor: Callable[[], Executor],
    settings: Settings,
    shard_size: int,
    costs: Costs,
    *,
    quiet: bool = False,
) -> tuple[Plan, Outcome]:
    """Do what is missing of a grid. Raises StoreError, ClusterError; a failing task is no error but in the outcome."""
    store.create()

    def set_aside(path: str, reason: str) -> None:
        store.shards.set_aside(path)
        sys.stderr.write(f"{store.shards.where(path)}: {reason}; set aside, its samples are attacked again\n")

    tables = Tables()
    plan = make_plan(tables.watched(expand(spec)), stored_in(store, set_aside), shard_size)
    store.grids.save(spec.name, spec.document, tables.wanted(), tables.published(spec.published))
    settings = replace(settings, run_id=settings.run_id or new_run_id())
    record = _run_record(spec.name, settings.run_id, plan)
    store.runs.save(settings.run_id, record)
    try:
        outcome = _execute(plan, store, open_executor, settings, Progress(plan, costs, quiet=quiet), shard_size)
    except (GridError, KeyboardInterrupt) as error:
        word = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        with suppress(StoreError):  # a store that refuses this too must not hide why
            _close_record(store, settings.run_id, {**record, "outcome": word, "error": str(error)})
        raise
    counts = {"done": outcome.shards, "failed": outcome.failed, "skipped": outcome.skipped}
    _close_record(store, settings.run_id, {**record, "outcome": outcome.word, **counts})
    return plan, outcome


def new_run_id() -> str:
    """Sorts by time: 20260131T120000-1a2b3c4d."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"


def _execute(
    plan: Plan,
    store: Store,
    open_executor: Callable[[], Executor],
    settings: Settings,
    progress: Progress,
    shard_size: int,
) -> Outcome:
    if plan.complete:
        return Outcome(0, 0, 0, 0, 0, interrupted=False, reasons={})
    executor = open_executor()
    run = Run(plan, store, executor, settings, progress, shard_size)
    with _interruptible(run, progress):
        try:
            return run.execute()
        finally:
            progress.end()
            executor.close()


@contextmanager
def _interruptible(run: Run, progress: Progress) -> Iterator[None]:
    """Ctrl-C once finishes what is running; twice stops at once. A polite kill counts as Ctrl-C."""

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        if run.interrupt:
            raise KeyboardInterrupt
        run.interrupt = True
        progress.say("interrupted: finishing what is running; once more to stop at once")

    previous = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _run_record(grid: str, run_id: str, plan: Plan) -> dict[str, object]:
    commit, dirty = _git()
    return {
        "run_id": run_id,
        "grid": grid,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "finished": None,
        "outcome": "running",
        "done": 0,
        "failed": 0,
        "skipped": 0,
        "commit": commit,
        "dirty": dirty,
        "versions": canonical({"attackgrid": __version__, "python": platform.python_version()}),
        "host": socket.gethostname(),
        "command": " ".join(sys.argv),
        "plan": {key: value for key, value in asdict(replace(plan, work=[])).items() if key != "work"},
    }


def _close_record(store: Store, run_id: str, record: dict[str, object]) -> None:
    store.runs.save(run_id, {**record, "finished": datetime.now(UTC).isoformat(timespec="seconds")})


def _git() -> tuple[str | None, bool | None]:
    """Commit of the attackgrid that runs, and whether its files differ from it; None if it is not a checkout."""
    here = Path(__file__).parents[2]
    if not (here / ".git").exists():
        return None, None
    ask = ["git", "-C", os.fspath(here)]
    try:
        commit = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S603 - fixed words
        status = subprocess.run([*ask, "status", "--porcelain"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S603 - fixed words
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit.stdout.strip(), bool(status.stdout.strip())
