"""A launch, from a spec and a store to an outcome: plan, record what is wanted, run, record the run."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import FrameType

from grid.errors import ClusterError, UsageError
from grid.plan.asked import GridSpec
from grid.plan.costs import Costs
from grid.plan.expand import expand
from grid.plan.plan import Plan, make_plan
from grid.plan.stored import stored_in
from grid.plan.wanted import Tables
from grid.run.executor import Executor, WorkerLostError
from grid.run.ledger import NOTHING_DONE, Outcome
from grid.run.loop import Run
from grid.run.progress import Progress
from grid.run.record import new_run_id, recorded
from grid.store.store import Store
from grid.work.ask import ask, unknown_part
from grid.work.requirements import Requirements, requirements
from grid.work.task import Settings


def launch(
    spec: GridSpec,
    store: Store,
    open_executor: Callable[[Requirements], Executor],
    settings: Settings,
    shard_size: int,
    costs: Costs,
    *,
    quiet: bool = False,
) -> tuple[Plan, Outcome]:
    """Do what is missing of a grid. A failing task is no error but in the outcome.

    Raises StoreError, ClusterError, MissingError where what the tasks need is not where they would run, and UsageError
    with what components of other packages refuse. Before that is known, nothing is written but the store's own marker.
    """
    store.create()
    settings = replace(settings, run_id=settings.run_id or new_run_id())
    plan, tables = _planned(spec, store, shard_size)
    executor = None
    if not plan.complete:
        executor = open_executor(requirements(plan, settings.data_root, download=settings.download))
    try:
        if executor:
            _refuse_foreign(spec, executor, settings)
        store.grids.save(spec.name, spec.document, tables.wanted(), tables.published(spec.published))
        with recorded(store, settings.run_id, spec.name, plan) as close:
            outcome = NOTHING_DONE
            if executor:
                outcome = _execute(plan, store, executor, settings, Progress(plan, costs, quiet=quiet), shard_size)
        close(outcome.word, done=outcome.shards, failed=outcome.failed, skipped=outcome.skipped)
    finally:
        if executor:
            executor.close()
    return plan, outcome


def _planned(spec: GridSpec, store: Store, shard_size: int) -> tuple[Plan, Tables]:
    """What there is to do, and what the grid asks for; the store then has no damaged file of its cases."""

    def set_aside(path: str, reason: str) -> None:
        store.shards.set_aside(path)
        sys.stderr.write(f"{store.shards.where(path)}: {reason}; set aside, its samples are attacked again\n")

    tables = Tables()
    plan = make_plan(tables.watched(expand(spec)), stored_in(store, set_aside), shard_size)
    return plan, tables


def _refuse_foreign(spec: GridSpec, executor: Executor, settings: Settings) -> None:
    """Have a worker ask the components of other packages, whose code the driver does not run, before any task."""
    unknown = unknown_part(spec)
    if unknown is None:
        return
    problems = _answer(spec, lambda: executor.submit(ask, unknown, settings).result())
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        raise UsageError("\n".join([f"{spec.name}: {count}", *(f"  {problem}" for problem in problems)]))


def _answer(spec: GridSpec, question: Callable[[], list[str]]) -> list[str]:
    """The answer of a worker, or of another one where the first is lost."""
    with suppress(WorkerLostError):
        return question()
    try:
        return question()
    except WorkerLostError as error:
        raise ClusterError(f"{spec.name}: two workers that imported its foreign components: {error}") from error


def _execute(
    plan: Plan, store: Store, executor: Executor, settings: Settings, progress: Progress, shard_size: int
) -> Outcome:
    run = Run(plan, store, executor, settings, progress, shard_size)
    with _interruptible(run, progress):
        try:
            return run.execute()
        finally:
            progress.end()


@contextmanager
def _interruptible(run: Run, progress: Progress) -> Iterator[None]:
    """Ctrl-C once finishes what is running; twice stops at once. A polite kill counts as Ctrl-C."""

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        if run.interrupted:
            raise KeyboardInterrupt
        run.interrupt()
        progress.say("interrupted: finishing what is running; once more to stop at once")

    previous = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
