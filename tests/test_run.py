"""The run loop, without Ray: toy executors end tasks as the test's `answer(task)` says."""

import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from test_plan import ONE, OTHER, STRONG, TWO, WEAK, plan

from grid.errors import StoreError
from grid.plan.costs import Costs
from grid.run.executor import WorkerLostError
from grid.run.ledger import MAX_LOST
from grid.run.loop import Run
from grid.run.progress import Progress
from grid.store.store import Store
from grid.work.task import Done, Failed, Settings


class AtOnce:
    """Ends each task as it is submitted."""

    slots = 2

    def __init__(self, answer):
        self.answer = answer
        self.begun = []

    def submit(self, function, task, settings):
        future = Future()
        self.begun.append(task)
        try:
            future.set_result(self.answer(task))
        except WorkerLostError as error:
            future.set_exception(error)
        return future


class Threads:
    """Ends tasks on threads, and remembers how many were ever submitted and not yet ended."""

    def __init__(self, slots):
        self.slots = slots
        self.pool = ThreadPoolExecutor(slots)
        self.lock = threading.Lock()
        self.in_flight = self.most = 0

    def submit(self, function, task, settings):
        with self.lock:
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
        return self.pool.submit(self.answer, task)

    def answer(self, task):
        time.sleep(0.001)
        with self.lock:
            self.in_flight -= 1
        return Done(0.001)


def execute(tmp_path, made, executor, size=100):
    store = Store(str(tmp_path / "store"))
    store.create()
    settings = Settings(store=store.location, data_root="", run_id="test")
    run = Run(made, store, executor, settings, Progress(made, Costs(), quiet=True), size)
    return run, store


def fine(task):
    return Done(0.1)


def test_every_cell_is_trained_and_every_shard_is_run_once(tmp_path):
    executor = AtOnce(fine)
    run, _ = execute(tmp_path, plan({}), executor)
    outcome = run.execute()
    assert (outcome.cells, outcome.shards, outcome.samples) == (2, 9, 750)
    assert (outcome.failed, outcome.skipped, outcome.exit_code) == (0, 0, 0)
    assert len({task.id for task in executor.begun}) == len(executor.begun) == 11


def test_shards_of_a_cell_start_before_another_cell_is_trained(tmp_path):
    executor = AtOnce(fine)
    run, _ = execute(tmp_path, plan({}), executor)
    run.execute()
    order = [(task.kind, task.cell) for task in executor.begun]
    assert order.index(("attack", ONE)) < order.index(("train", TWO))


def test_all_slots_are_busy_and_only_a_few_more_tasks_are_ever_in_flight(tmp_path):
    executor = Threads(8)
    run, _ = execute(tmp_path, plan({}, trained=[ONE, TWO], size=1), executor, size=1)
    assert run.execute().shards == 750
    assert 8 <= executor.most <= 2 * 8 + 1


def test_a_lost_worker_costs_another_attempt_and_nothing_else(tmp_path):
    lost = []

    def once(task):
        if task.kind == "attack" and task.id not in lost:
            lost.append(task.id)
            raise WorkerLostError("gone")
        return Done(0.1)

    run, store = execute(tmp_path, plan({}), AtOnce(once))
    outcome = run.execute()
    assert (outcome.shards, outcome.failed, outcome.exit_code) == (9, 0, 0)
    assert list(store.failures.all()) == []


def test_a_task_that_loses_every_worker_is_recorded_and_the_rest_goes_on(tmp_path):
    def never(task):
        if task.case == STRONG and task.positions.start == 0:
            raise WorkerLostError("gone")
        return Done(0.1)

    executor = AtOnce(never)
    run, store = execute(tmp_path, plan({}), executor)
    outcome = run.execute()
    assert (outcome.shards, outcome.failed, outcome.exit_code) == (8, 1, 3)
    assert sum(t.case == STRONG and t.positions.start == 0 for t in executor.begun) == MAX_LOST
    (record,) = store.failures.all()
    assert (record["kind"], record["attempt"], record["case_id"]) == ("worker", MAX_LOST, STRONG.id)


def test_a_cell_that_cannot_be_trained_skips_its_shards_only(tmp_path):
    def broken(task):
        if task.kind == "train" and task.cell == ONE:
            return Failed("error", "ValueError", "no luck", "Traceback ...", "here")
        return Done(0.1)

    run, store = execute(tmp_path, plan({}), AtOnce(broken))
    outcome = run.execute()
    assert (outcome.cells, outcome.shards, outcome.failed, outcome.skipped) == (1, 3, 1, 6)
    assert outcome.exit_code == 3
    (record,) = store.failures.all()
    assert record["traceback"] == "Traceback ..."
    assert record["cell_id"] == ONE.id
    assert record["case_id"] is None


def test_a_merge_that_fails_is_an_event_and_no_failure(tmp_path):
    def answer(task):
        return Failed("error", "FileNotFoundError", "merged by somebody else") if task.kind == "merge" else Done(0.1)

    run, store = execute(tmp_path, plan({}, trained=[ONE, TWO], size=10), AtOnce(answer), size=10)
    folder = Path(store.location, "shards", WEAK.id)
    folder.mkdir(parents=True)
    for positions in range(20):  # what the toy executor does not store
        (folder / f"{positions}-{positions + 1}.parquet").touch()
    outcome = run.execute()
    assert (outcome.shards, outcome.failed, outcome.exit_code) == (75, 0, 0)
    assert list(store.failures.all()) == []
    assert '"failed"' in Path(store.location, "runs/test/events.jsonl").read_text()


def test_a_store_that_refuses_ends_the_run_with_its_own_words(tmp_path):
    def full(task):
        return Failed("store", "StoreError", "x: cannot be written: No space left on device")

    executor = AtOnce(full)
    run, _ = execute(tmp_path, plan({}), executor)
    with pytest.raises(StoreError, match="No space left on device"):
        run.execute()
    assert len(executor.begun) == 1


def test_an_interruption_finishes_what_runs_and_begins_nothing_more(tmp_path):
    executor = AtOnce(fine)
    run, _ = execute(tmp_path, plan({}), executor)

    def interrupt(task):
        if task.kind == "attack":
            run.interrupt()
        return Done(0.1)

    executor.answer = interrupt
    outcome = run.execute()
    assert (outcome.cells, outcome.shards, outcome.interrupted) == (1, 1, True)
    assert outcome.exit_code == 130


def test_after_an_interruption_what_no_worker_has_begun_is_not_done(tmp_path):
    executor = Threads(1)
    run, _ = execute(tmp_path, plan({}, trained=[ONE, TWO], size=1), executor, size=1)
    answer = executor.answer

    def interrupt(task):
        run.interrupt()
        time.sleep(0.5)
        return answer(task)

    executor.answer = interrupt
    outcome = run.execute()
    assert (outcome.shards, outcome.skipped, outcome.exit_code) == (1, 749, 130)


def test_every_end_of_a_task_is_an_event_of_the_run(tmp_path):
    run, store = execute(tmp_path, plan({}, trained=[ONE, TWO]), AtOnce(fine))
    run.execute()
    lines = Path(store.location, "runs/test/events.jsonl").read_text().splitlines()
    assert {json.loads(line)["task"] for line in lines} == {
        f"{c.id}-{a}-{b}" for c in (WEAK, STRONG, OTHER) for a, b in ((0, 100), (100, 200), (200, 250))
    }
