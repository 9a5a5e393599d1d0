"""The one loop: submit what is ready, wait, record. Knows no cluster: an Executor runs the tasks.

A cell is trained, then its shards become ready; those of a transfer when its source is trained as well, those of an
attack with a prepare step when that is done. Ready shards go before further trainings, so a cell that was begun is
finished first. Only a few more tasks than slots are ever in flight, and shards
are cut when they are needed, so the driver's memory does not grow with the grid.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime

from grid.errors import StoreError
from grid.plan.plan import CaseWork, CellWork, Plan
from grid.ranges import cut, num_shards, subtract
from grid.run.executor import Executor, WorkerLostError
from grid.run.progress import Progress
from grid.store.store import Store
from grid.work.attempt import Done, Failed, Settings, Task, perform
from tasks.config import Cell

MAX_LOST = 3
"""A task whose worker was lost this often is recorded as failed."""
COMPACT_FILES = 16
"""A finished case of at least this many shards is merged into one file."""


@dataclass(frozen=True)
class Outcome:
    """What a run did. `skipped` are shards of cells that could not be trained, or left when it was interrupted."""

    cells: int
    shards: int
    samples: int
    failed: int
    skipped: int
    interrupted: bool
    reasons: dict[str, int]

    @property
    def exit_code(self) -> int:
        """0 complete, 3 something failed or is missing, 130 interrupted."""
        if self.interrupted:
            return 130
        return 3 if self.failed or self.skipped else 0

    @property
    def word(self) -> str:
        """For the record of the run."""
        return {0: "complete", 3: "incomplete", 130: "interrupted"}[self.exit_code]


class Run:
    """One execution of a plan. `interrupt` may be set at any moment: what is running is finished, no more begun."""

    def __init__(
        self, plan: Plan, store: Store, executor: Executor, settings: Settings, progress: Progress, shard_size: int
    ) -> None:
        self._plan = plan
        self._store = store
        self._executor = executor
        self._settings = settings
        self._progress = progress
        self._shard_size = shard_size
        self._cells = iter(plan.work)
        self._pending: dict[str, list[CaseWork | CellWork]] = {work.cell.id: [] for work in plan.work if work.train}
        """What is not there yet, a cell or what is prepared, with what waits for it. Goes when it is there."""
        self._trained: set[str] = set()
        self._prepared: set[str] = set()
        self._ready: deque[Iterator[Task]] = deque()
        self._again: deque[Task] = deque()
        self._chores: deque[Task] = deque()
        self._in_flight: dict[Future[Done | Failed], Task] = {}
        self._lost: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._due = plan.shards_to_run
        self._refused: StoreError | None = None
        self.interrupt = False

    def execute(self) -> Outcome:
        """Run until nothing is left that can be done. Raises StoreError if the store refused a result."""
        while True:
            self._fill()
            if not self._in_flight:
                break
            if self.interrupt or self._refused:
                for future in self._in_flight:
                    future.cancel()  # which only those can be that no worker has begun
            done, _ = wait(self._in_flight, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                self._finish(self._in_flight.pop(future), future)
            self._progress.tick(self._executor.slots, self._trainings)
        if self._refused:
            raise self._refused
        return self._outcome()

    def _trainings(self) -> list[tuple[Cell, int, int, float]]:
        """How far the trainings are that are running: cell, epoch, of how many, seconds of the last one."""
        cells = [task.cell for task in self._in_flight.values() if task.kind == "train"]
        said = ((cell, self._store.trainings.told(cell.id)) for cell in cells)
        return [(cell, facts["epoch"], facts["epochs"], facts["seconds"]) for cell, facts in said if facts]

    def _fill(self) -> None:
        window = 2 * max(1, self._executor.slots) + 1
        while len(self._in_flight) < window and not self.interrupt and not self._refused:
            task = self._next()
            if task is None:
                return
            future = self._executor.submit(perform, task, self._settings)
            self._in_flight[future] = task
            if future.done():  # an executor without slots of its own: let the loop record it first
                return

    def _next(self) -> Task | None:
        if self._again:
            return self._again.popleft()
        while True:
            while self._ready:
                task = next(self._ready[0], None)
                if task is not None:
                    return task
                self._ready.popleft()
            work = next(self._cells, None)
            if work is None:
                return self._chores.popleft() if self._chores else None
            if work.train and work.base in self._pending:
                self._pending[work.base].append(work)
            elif work.train:
                return self._training(work)
            else:
                self._release(work.cases)

    def _training(self, work: CellWork) -> Task:
        self._pending[work.cell.id] += work.cases
        traced = tuple((each.case, each.samples) for each in work.traced)
        return Task("train", work.cell, traced=traced)

    def _release(self, waiting: Iterable[CaseWork | CellWork]) -> None:
        """Make cells and the shards of cases ready, or let them wait for what they need next."""
        for work in waiting:
            if isinstance(work, CellWork):
                self._ready.append(iter([self._training(work)]))
                continue
            case = work.case
            needed = [cell.id for cell in case.cells]
            prepared = case.prepared_id if work.prepare else None
            needed += [prepared] if prepared else []
            missing = next((each for each in needed if each in self._pending), None)
            if missing is not None:
                self._pending[missing].append(work)
            elif prepared and prepared not in self._prepared:
                self._pending[prepared] = [work]
                self._ready.append(iter([Task("prepare", case.seen, case)]))
            else:
                verified = self._verified(work)
                self._left[case.id] = num_shards(verified.missing, self._shard_size)
                self._ready.append(_shards(verified, self._shard_size))

    def _finish(self, task: Task, future: Future[Done | Failed]) -> None:
        if future.cancelled():
            return
        try:
            result = future.result()
        except WorkerLostError as error:
            self._lost[task.id] += 1
            if self._lost[task.id] < MAX_LOST and not self.interrupt:
                self._progress.say(f"{_name(task)}: {error}; trying again on another worker")
                self._again.append(task)
                return
            result = Failed("worker", type(error).__name__, str(error))
        if isinstance(result, Done):
            self._did(task, result)
        else:
            self._failed(task, result)

    def _did(self, task: Task, result: Done) -> None:
        self._progress.did(task, result.seconds)
        self._event(task, "done", seconds=round(result.seconds, 4))
        if task.kind == "train":
            self._trained.add(task.cell.id)
        if task.kind == "prepare":
            self._prepared.add(task.id)
        if task.kind in {"train", "prepare"}:
            self._release(self._pending.pop(task.id))
        elif task.kind in {"attack", "probe"} and task.case:
            self._due -= 1
            self._left[task.case.id] -= 1
            if not self._left[task.case.id]:
                del self._left[task.case.id]
                if self._store.shards.count(task.case.id) >= COMPACT_FILES:
                    self._chores.append(Task("compact", task.cell, task.case))

    def _verified(self, work: CaseWork) -> CaseWork:
        """What is missing of a case now that its weights are known; results of other weights do not count."""
        case, planned = work.case, work.missing
        if not {cell.id for cell in case.cells} & self._trained:
            return work
        if case.id not in self._store.shards.cases():
            return work
        missing = subtract(work.samples, self._store.shards.usable(case.id, self._store.cells.weights_of(case)))
        self._due += num_shards(missing, self._shard_size) - num_shards(planned, self._shard_size)
        return work._replace(missing=missing)

    def _failed(self, task: Task, failed: Failed) -> None:
        if failed.kind == "store":
            self._refused = StoreError(failed.message)
        self._event(task, "failed", error=failed.error, message=failed.message)
        if task.kind == "compact":
            return  # nothing is missing; the next run or `compact` merges it
        self._due -= task.kind in {"attack", "probe"}
        reason = f"{failed.error}: {failed.message}"
        self._progress.failed_at("" if self._reasons[reason] else f"{_name(task)} failed: {reason}")
        self._reasons[reason] += 1
        if self._refused:
            return
        moment = datetime.now(UTC).isoformat(timespec="microseconds")
        record = {
            "task_id": task.id,
            "task": task.kind,
            "cell_id": task.cell.id,
            "case_id": None,
            "start": task.positions.start if task.positions else None,
            "stop": task.positions.stop if task.positions else None,
            "kind": failed.kind,
            "error": failed.error,
            "message": failed.message,
            "traceback": failed.traceback,
            "host": failed.host,
            "attempt": self._lost[task.id] or 1,
            "time": moment,
            "run_id": self._settings.run_id,
        }
        held_up = [task.case]
        if task.kind == "prepare":
            held_up = [work.case for work in self._pending[task.id] if isinstance(work, CaseWork)]
        for number, case in enumerate(held_up):
            about = {"cell_id": case.cell.id, "case_id": case.id} if case else {}
            self._store.failures.save(task.id, f"{moment}-{number}", {**record, **about})

    def _event(self, task: Task, event: str, **facts: object) -> None:
        if self._refused:
            return
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._store.runs.append_event(self._settings.run_id, {"time": moment, "event": event, "task": task.id, **facts})

    def _outcome(self) -> Outcome:
        return Outcome(
            cells=self._progress.cells,
            shards=self._progress.shards,
            samples=self._progress.samples,
            failed=sum(self._reasons.values()),
            skipped=self._due,
            interrupted=self.interrupt,
            reasons=dict(self._reasons),
        )


def _shards(work: CaseWork, size: int) -> Iterator[Task]:
    for positions in cut(work.missing, size):
        yield Task(work.case.under.kind, work.case.cell, work.case, positions)


def _name(task: Task) -> str:
    cell = task.cell
    words = f"{cell.dataset.name}/{cell.architecture.name}/{cell.head.name}/seed {cell.seed}"
    if task.case is None:
        return f"{task.kind} {words} ({task.id})"
    attack = task.case.name
    if task.positions is None:
        return f"{task.kind} {attack} on {words} ({task.id})"
    start, stop = task.positions
    return f"{attack} on {words}, samples {start}-{stop} ({task.case.id})"
