"""The pool, without Ray: toy workers that answer, die and fall silent when the test says so."""

import operator
import threading
import time
from concurrent.futures import Future

import pytest

from grid.errors import ClusterError, MissingError
from grid.run import pool as pool_module
from grid.run.executor import UnfitWorkerError, WorkerLostError
from grid.run.pool import Pool


class Toy:
    """A worker whose calls end when the test steps."""

    def __init__(self, world):
        self.world = world
        self.calls = []
        self.num_pings = 0
        self.killed = False
        world.started.append(self)

    def call(self, function, args, kwargs, /):
        future = Future()
        self.calls.append((future, function, args, kwargs))
        return future

    def ping(self):
        self.num_pings += 1
        future = Future()
        if self.world.lacks.get(self.world.started.index(self)):
            future.set_exception(UnfitWorkerError(self.world.lacks[self.world.started.index(self)]))
        elif self.world.trouble:
            future.set_exception(OSError(self.world.trouble))
        elif self not in self.world.silent:
            future.set_result("here")
        return future

    def kill(self):
        self.killed = True

    def step(self):
        wait_until(lambda: self.calls)
        future, function, args, kwargs = self.calls.pop(0)
        try:
            future.set_result(function(*args, **kwargs))
        except ArithmeticError as error:
            future.set_exception(error)

    def die(self):
        for future, *_ in self.calls:
            future.set_exception(WorkerLostError("its worker was lost (Toy)"))
        self.calls = []


class World:
    """All workers that were ever started, and what is wrong with them."""

    def __init__(self):
        self.started = []
        self.silent = []
        self.trouble = ""
        self.lacks = {}
        """What workers lack, by their numbers in the order in which they were started."""
        self.closed = threading.Event()

    def pool(self, slots):
        return Pool([lambda: Toy(self)] * slots, self.closed.set)


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(pool_module, "PING_SECONDS", 0.02)
    return World()


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited a minute"
        time.sleep(0.005)


def test_results_and_errors_come_back_and_what_waits_waits_here(world):
    pool = world.pool(1)
    (worker,) = world.started
    good, bad = pool.submit(operator.add, 1, 2), pool.submit(operator.truediv, 1, 0)
    wait_until(lambda: worker.calls)
    assert len(worker.calls) == 1
    worker.step()
    worker.step()
    assert good.result(60) == 3
    with pytest.raises(ZeroDivisionError):
        bad.result(60)
    pool.close()
    assert worker.killed
    assert world.closed.is_set()


def test_every_worker_has_a_task(world):
    pool = world.pool(3)
    wait_until(lambda: pool.slots == 3)
    for number in range(5):
        pool.submit(abs, number)
    wait_until(lambda: [len(worker.calls) for worker in world.started] == [1, 1, 1])
    pool.close()


@pytest.mark.parametrize(("short_seconds", "ahead"), [(1e9, 2), (0.0, 1)])
def test_where_tasks_are_short_a_worker_has_the_next_one_already(world, monkeypatch, short_seconds, ahead):
    monkeypatch.setattr(pool_module, "SHORT_SECONDS", short_seconds)
    pool = world.pool(1)
    (worker,) = world.started
    futures = [pool.submit(abs, number) for number in range(4)]
    worker.step()
    assert futures[0].result(60) == 0
    wait_until(lambda: len(worker.calls) == ahead)
    assert not futures[ahead + 1].running()
    pool.close()


def test_of_a_worker_that_dies_only_the_task_that_ran_is_lost(world, monkeypatch):
    monkeypatch.setattr(pool_module, "SHORT_SECONDS", 1e9)
    pool = world.pool(1)
    (worker,) = world.started
    _, ran, behind, last = [pool.submit(abs, number) for number in range(4)]
    worker.step()
    wait_until(lambda: len(worker.calls) == 2)
    worker.die()
    with pytest.raises(WorkerLostError, match=r"lost \(Toy\)"):
        ran.result(60)
    wait_until(lambda: len(world.started) == 2)
    for _ in range(2):
        world.started[1].step()
    assert (behind.result(60), last.result(60)) == (2, 3)
    pool.close()


def test_a_worker_that_does_not_answer_is_given_up_and_what_it_says_later_is_not_heard(world, monkeypatch):
    monkeypatch.setattr(pool_module, "SILENCE_SECONDS", 0.2)
    pool = world.pool(1)
    (worker,) = world.started
    future = pool.submit(abs, -1)
    wait_until(lambda: worker.calls)
    world.silent.append(worker)
    with pytest.raises(WorkerLostError, match="did not answer"):
        future.result(60)
    assert worker.killed
    worker.step()
    again = pool.submit(abs, -2)
    world.started[1].step()
    assert again.result(60) == 2
    pool.close()


def test_a_worker_that_answers_is_asked_again_and_again_and_stays(world):
    pool = world.pool(1)
    (worker,) = world.started
    wait_until(lambda: worker.num_pings > 3)
    assert (pool.slots, world.started, worker.killed) == (1, [worker], False)
    pool.close()


def test_where_no_worker_starts_the_reason_is_said(world):
    world.trouble = "no memory left"
    with pytest.raises(ClusterError, match="no worker started: no memory left"):
        world.pool(2)
    assert len(world.started) == 2 * pool_module.MAX_FAILED_STARTS


def test_when_no_worker_comes_back_what_waits_ends_with_the_reason(world):
    pool = world.pool(1)
    (worker,) = world.started
    ran, waits, dropped = [pool.submit(abs, number) for number in range(3)]
    wait_until(lambda: worker.calls)
    assert dropped.cancel()
    world.trouble = "no memory left"
    worker.die()
    with pytest.raises(WorkerLostError):
        ran.result(60)
    with pytest.raises(ClusterError, match="no worker starts any more: no memory left"):
        waits.result(60)
    pool.close()


def test_a_task_that_was_cancelled_is_never_begun(world):
    pool = world.pool(1)
    (worker,) = world.started
    first, second, third = [pool.submit(abs, number) for number in range(3)]
    assert second.cancel()
    worker.step()
    worker.step()
    assert (first.result(60), third.result(60)) == (0, 2)
    pool.close()


def test_workers_that_lack_something_are_not_used_nor_started_again_and_it_is_said_once(world, capsys):
    world.lacks = {0: "node a: no data\nnode a: no package", 2: "node a: no data"}
    pool = world.pool(4)
    wait_until(lambda: pool.slots == 2 and world.started[0].killed and world.started[2].killed)
    answers = [pool.submit(abs, -number) for number in range(4)]
    for _ in range(2):
        world.started[1].step()
        world.started[3].step()
    assert [answer.result(60) for answer in answers] == [0, 1, 2, 3]
    assert len(world.started) == 4
    pool.close()
    said = capsys.readouterr().err.splitlines()
    assert said == ["node a: no data; its workers are not used", "node a: no package; its workers are not used"]


def test_a_pool_all_of_whose_workers_lack_something_does_not_come_up_and_says_what(world, capsys):
    world.lacks = {0: "node a: no data", 1: "node b: no data"}
    with pytest.raises(MissingError) as caught:
        world.pool(2)
    assert sorted(caught.value.lacks) == ["node a: no data", "node b: no data"]
    assert len(world.started) == 2
    assert all(worker.killed for worker in world.started)
    assert capsys.readouterr().err == ""


def test_when_every_worker_that_was_fit_is_lost_to_unfit_ones_what_waits_fails_with_what_they_lack(world):
    pool = world.pool(1)
    (worker,) = world.started
    world.lacks = {1: "node b: no data"}
    running, waiting = pool.submit(abs, 1), pool.submit(abs, 2)
    wait_until(lambda: worker.calls)
    worker.die()
    with pytest.raises(WorkerLostError):
        running.result(60)
    with pytest.raises(ClusterError, match="no worker starts any more: node b: no data"):
        waiting.result(60)
    pool.close()
