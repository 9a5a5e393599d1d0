"""What a run does next and what is left of it, by what became of its tasks so far.

A cell is trained, then its shards become ready; those of a transfer when its source is trained as well, those of an
attack with a prepare step when that is done. Ready shards go before further trainings, so a cell that was begun is
finished first. Shards are cut when they are asked for, so that memory does not grow with the grid.

Pure: knows no store, no executor and no clock. It is told how tasks ended; what only a store knows, it asks through
the two questions that it is given.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from grid.plan.plan import CaseWork, CellWork, Plan
from grid.ranges import Range, cut, num_shards, subtract
from grid.work.task import Task
from tasks.cases import Case

MAX_LOST = 3
"""A task whose worker was lost this often is not tried again."""
MERGED_FILES = 16
"""A finished case of at least this many files is merged into one."""


@dataclass
class Tally:
    """What is done: numbers of tasks by their kind, and samples attacked or probed."""

    cells: int = 0
    prepared: int = 0
    shards: int = 0
    samples: int = 0
    failed: int = 0

    def did(self, task: Task) -> None:
        """One more."""
        self.cells += task.kind == "train"
        self.prepared += task.kind == "prepare"
        self.shards += task.is_shard
        self.samples += task.samples


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


NOTHING_DONE = Outcome(0, 0, 0, 0, 0, interrupted=False, reasons={})
"""Where nothing was missing."""


class Ledger:
    """The tasks of one plan."""

    def __init__(
        self, plan: Plan, shard_size: int, stored: Callable[[Case], Iterable[Range]], num_files: Callable[[Case], int]
    ) -> None:
        """Two questions about the store come with the plan.

        `stored`: the positions of a case whose rows were made with the weights that are there now; asked of a case
        when a cell of it has been trained. `num_files`: in how many files the rows of a finished case are.
        """
        self.tally = Tally()
        self.reasons: Counter[str] = Counter()
        """How often each reason of a failure was given."""
        self._shard_size, self._stored, self._num_files = shard_size, stored, num_files
        self._interrupted = False
        self._work = iter(plan.work)
        self._waiting: dict[str, list[CaseWork | CellWork]] = {work.cell.id: [] for work in plan.work if work.train}
        """What is not there yet, a cell or what is prepared, with what waits for it. Goes when it is there."""
        self._made: set[str] = set()
        self._ready: deque[Iterator[Task]] = deque()
        self._again: deque[Task] = deque()
        self._merges: deque[Task] = deque()
        self._lost: Counter[str] = Counter()
        self._num_left: Counter[str] = Counter()
        """Shards of each case that was begun."""
        self._num_due = plan.shards_to_run

    def next(self) -> Task | None:
        """The task to begin now; None if there is none until another one ends, or at all."""
        if self._interrupted:
            return None
        if self._again:
            return self._again.popleft()
        while True:
            if task := self._next_ready():
                return task
            work = next(self._work, None)
            if work is None:
                return self._merges.popleft() if self._merges else None
            self._begin(work)

    def done(self, task: Task) -> None:
        """The result of a task is there: what waited for it becomes ready."""
        self.tally.did(task)
        if task.kind in {"train", "prepare"}:
            self._made.add(task.id)
            for work in self._waiting.pop(task.id):
                self._begin(work)
        elif task.is_shard and task.case:
            self._num_due -= 1
            self._num_left[task.case.id] -= 1
            if not self._num_left[task.case.id]:
                del self._num_left[task.case.id]
                if self._num_files(task.case) >= MERGED_FILES:
                    self._merges.append(Task("merge", task.cell, task.case))

    def lost(self, task: Task) -> bool:
        """The worker of a task was lost: whether the task is tried again. If not, it has failed."""
        self._lost[task.id] += 1
        again = self._lost[task.id] < MAX_LOST and not self._interrupted
        if again:
            self._again.append(task)
        return again

    def failed(self, task: Task, reason: str) -> None:
        """A task left no result. One that merges leaves nothing missing by that, and does not count."""
        if task.kind == "merge":
            return
        self.reasons[reason] += 1
        self.tally.failed += 1
        self._num_due -= task.is_shard

    def interrupt(self) -> None:
        """Begin nothing more."""
        self._interrupted = True

    @property
    def interrupted(self) -> bool:
        """Whether nothing more is begun."""
        return self._interrupted

    def attempts(self, task: Task) -> int:
        """How often a task that has ended was tried."""
        return self._lost[task.id] or 1

    def held_up(self, task: Task) -> Sequence[Case | None]:
        """The cases that a failed task is about: of a prepare step all that wait for it, of a training none."""
        if task.kind != "prepare":
            return [task.case]
        return [work.case for work in self._waiting[task.id] if isinstance(work, CaseWork)]

    def outcome(self) -> Outcome:
        """What has come of it all."""
        done = self.tally
        return Outcome(
            cells=done.cells,
            shards=done.shards,
            samples=done.samples,
            failed=done.failed,
            skipped=self._num_due,
            interrupted=self._interrupted,
            reasons=dict(self.reasons),
        )

    def _next_ready(self) -> Task | None:
        while self._ready:
            if task := next(self._ready[0], None):
                return task
            self._ready.popleft()
        return None

    def _begin(self, work: CaseWork | CellWork) -> None:
        """Make a training or the shards of cases ready, or let them wait for what they need next."""
        if isinstance(work, CaseWork):
            self._begin_case(work)
        elif not work.train:
            for case in work.cases:
                self._begin_case(case)
        elif work.base in self._waiting:
            self._waiting[work.base].append(work)
        else:
            self._waiting[work.cell.id] += work.cases
            traced = tuple((each.case, each.samples) for each in work.traced)
            self._ready.append(iter([Task("train", work.cell, traced=traced)]))

    def _begin_case(self, work: CaseWork) -> None:
        case = work.case
        needed = [cell.id for cell in case.cells] + ([case.prepared_id] if work.prepare else [])
        absent = next((each for each in needed if each in self._waiting), None)
        if absent is not None:
            self._waiting[absent].append(work)
        elif work.prepare and case.prepared_id not in self._made:
            self._waiting[case.prepared_id] = [work]
            self._ready.append(iter([Task("prepare", case.seen, case)]))
        else:
            missing = self._missing(work)
            self._num_left[case.id] = num_shards(missing, self._shard_size)
            self._ready.append(Task(case.under.kind, case.cell, case, each) for each in cut(missing, self._shard_size))

    def _missing(self, work: CaseWork) -> Sequence[Range]:
        """What is missing of a case now that its weights are known; results of other weights do not count."""
        if self._made.isdisjoint(cell.id for cell in work.case.cells):
            return work.missing
        missing = subtract(work.samples, self._stored(work.case))
        self._num_due += num_shards(missing, self._shard_size) - num_shards(work.missing, self._shard_size)
        return missing
