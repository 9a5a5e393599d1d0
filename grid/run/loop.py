"""The one loop: submit what the ledger says is next, wait, record. Knows no cluster: an Executor runs the tasks.

Only a few more tasks than slots are ever in flight, so the driver's memory does not grow with the grid.
"""

from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait

from grid.errors import StoreError
from grid.plan.plan import Plan
from grid.ranges import Range
from grid.run.executor import Executor, WorkerLostError
from grid.run.ledger import Ledger, Outcome
from grid.run.progress import Progress, Training
from grid.run.record import Journal
from grid.run.wording import task_text
from grid.store.store import Store
from grid.work.attempt import perform
from grid.work.task import Done, Failed, Settings, Task
from tasks.cases import Case


class Run:
    """One execution of a plan."""

    def __init__(
        self, plan: Plan, store: Store, executor: Executor, settings: Settings, progress: Progress, shard_size: int
    ) -> None:
        self._ledger = Ledger(plan, shard_size, self._stored, lambda case: store.shards.count(case.id))
        self._store = store
        self._executor = executor
        self._settings = settings
        self._progress = progress
        self._journal = Journal(store, settings.run_id)
        self._in_flight: dict[Future[Done | Failed], Task] = {}
        self._refused: StoreError | None = None

    def interrupt(self) -> None:
        """Finish what is running and begin no more. May be called at any moment, from a signal handler too."""
        self._ledger.interrupt()

    @property
    def interrupted(self) -> bool:
        """Whether nothing more is begun."""
        return self._ledger.interrupted

    def execute(self) -> Outcome:
        """Run until nothing is left that can be done. Raises StoreError if the store refused a result."""
        while True:
            self._fill()
            if not self._in_flight:
                break
            if self.interrupted or self._refused:
                for future in self._in_flight:
                    future.cancel()  # which only those can be that no worker has begun
            done, _ = wait(self._in_flight, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                self._finish(self._in_flight.pop(future), future)
            self._progress.tick(self._executor.slots, self._ledger.tally, self._trainings)
        if self._refused:
            raise self._refused
        return self._ledger.outcome()

    def _fill(self) -> None:
        window = 2 * max(1, self._executor.slots) + 1
        while len(self._in_flight) < window and not self._refused:
            task = self._ledger.next()
            if task is None:
                return
            future = self._executor.submit(perform, task, self._settings)
            self._in_flight[future] = task
            if future.done():  # an executor without slots of its own: let the loop record it first
                return

    def _finish(self, task: Task, future: Future[Done | Failed]) -> None:
        if future.cancelled():
            return
        try:
            result = future.result()
        except WorkerLostError as error:
            if self._ledger.lost(task):
                self._progress.say(f"{task_text(task)}: {error}; trying again on another worker")
                return
            result = Failed("worker", type(error).__name__, str(error))
        if isinstance(result, Done):
            self._did(task, result)
        else:
            self._failed(task, result)

    def _did(self, task: Task, result: Done) -> None:
        self._progress.spent(task, result.seconds)
        if not self._refused:
            self._journal.event(task, "done", seconds=round(result.seconds, 4))
        self._ledger.done(task)

    def _failed(self, task: Task, failed: Failed) -> None:
        if failed.kind == "store":
            self._refused = StoreError(failed.message)
        reason = f"{failed.error}: {failed.message}"
        if task.kind != "merge" and not self._ledger.reasons[reason]:
            self._progress.say(f"{task_text(task)} failed: {reason}")
        self._ledger.failed(task, reason)
        if self._refused:
            return
        self._journal.event(task, "failed", error=failed.error, message=failed.message)
        if task.kind != "merge":  # which the next run or `tidy` merges
            self._journal.failure(task, failed, self._ledger.attempts(task), self._ledger.held_up(task))

    def _stored(self, case: Case) -> Iterable[Range]:
        """Positions of a case made with the weights that are there now; files of others are set aside."""
        if not self._store.shards.count(case.id):
            return ()
        return self._store.shards.usable(case.id, self._store.cells.weights_of(case))

    def _trainings(self) -> list[Training]:
        """How far the trainings are that are running."""
        cells = [task.cell for task in self._in_flight.values() if task.kind == "train"]
        said = ((cell, self._store.trainings.told(cell.id)) for cell in cells)
        return [(cell, facts["epoch"], facts["epochs"], facts["seconds"]) for cell, facts in said if facts]
