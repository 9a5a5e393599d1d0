"""An executor over workers that may die: seats, who sits in them, and whether they still answer.

Each seat has one worker, which runs one task at a time. What waits, waits here, but for one task ahead where tasks are
short. When a worker dies, the task it had comes back as WorkerLostError and another worker is started in its seat. One
that stops answering is given up as dead, as a node whose network was cut needs.

Knows no Ray: how a worker is started, called, pinged and killed is given to it.
"""

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, Protocol, TypeVar

from grid.errors import ClusterError, MissingError
from grid.run.executor import UnfitWorkerError, WorkerLostError

P = ParamSpec("P")
T = TypeVar("T")

START_SECONDS = 180.0
"""How long the first worker has to start (it imports torch, perhaps from a slow shared disk)."""
PING_SECONDS = 5.0
SILENCE_SECONDS = 60.0
"""A worker is pinged every PING_SECONDS; one that has not answered for SILENCE_SECONDS is given up."""

MAX_FAILED_STARTS = 3
SHORT_SECONDS = 0.1
"""Tasks that take less than this are given to a worker one ahead."""


class Worker(Protocol):
    """Something that is starting, or up, or dead: its calls run one after the other, its pings beside them."""

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], /) -> Future[Any]:
        """Have a function run there. Its future has WorkerLostError if the worker is dead, or dies before the end."""
        ...

    def ping(self) -> Future[Any]:
        """Have it answer. Its future has an error that says why, if the worker does not start or is dead."""
        ...

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        ...


@dataclass(eq=False)
class _Seat:
    """A place for one worker, and the one in it now."""

    start: Callable[[], Worker]
    worker: Worker | None = None
    answered: float = 0.0
    ready: bool = False
    failed_starts: int = 0
    tasks: "deque[_Waiting]" = field(default_factory=deque)
    pinged: bool = False


@dataclass(eq=False)
class _Waiting:
    future: Future[Any]
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    begun: float = 0.0


class Pool:
    """An Executor with a worker per slot.

    One thread owns the seats and is alone in using workers; everybody else, callbacks of their futures included (in
    which a call to Ray would block for ever), leaves it something to do in `_events`.
    """

    def __init__(self, starts: Iterable[Callable[[], Worker]], on_close: Callable[[], object]) -> None:
        """Start a worker per slot and wait until the first is there. Raises ClusterError if none comes.

        Raises MissingError if those that come lack what the tasks need. `on_close` is called when the workers of a
        pool that is closed are gone.
        """
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._queue: deque[_Waiting] = deque()
        self._seats = [_Seat(start) for start in starts]
        self._on_close = on_close
        self._task_seconds = math.inf
        self._trouble = ""
        self._lacks: dict[str, bool] = {}
        """What unfit workers lack, and whether that has been said."""
        self._closing = False
        self._last_up = time.monotonic()
        self._first = threading.Event()
        for seat in self._seats:
            self._events.put(partial(self._fill, seat))
        self._thread = threading.Thread(target=self._serve, daemon=True, name="attackgrid-pool")
        self._thread.start()
        self._first.wait(START_SECONDS)
        if not self.slots:
            self._stop()
            if self._lacks:
                raise MissingError(list(self._lacks))
            raise ClusterError(f"no worker started: {self._trouble or f'none within {START_SECONDS:.0f} s'}")

    @property
    def slots(self) -> int:
        """How many workers are up."""
        return sum(seat.ready for seat in self._seats)

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function, importable on the workers, when one of them is free."""
        future: Future[T] = Future()
        self._events.put(partial(self._queue.append, _Waiting(future, function, args, kwargs)))
        return future

    def close(self) -> None:
        """Kill the workers; what still runs is lost."""
        self._stop()
        self._on_close()

    def _stop(self) -> None:
        self._closing = True
        self._events.put(lambda: None)
        self._thread.join()
        for seat in self._seats:
            if seat.worker:
                seat.worker.kill()

    def _serve(self) -> None:
        next_ping = time.monotonic() + PING_SECONDS
        while not self._closing:
            with suppress(Empty):
                self._events.get(timeout=max(0.0, next_ping - time.monotonic()))()
                while True:
                    self._events.get_nowait()()
            if time.monotonic() >= next_ping:
                self._check_health()
                next_ping = time.monotonic() + PING_SECONDS
            self._assign()

    def _assign(self) -> None:
        """Give waiting tasks to free workers; where tasks are short, one ahead, so that no worker waits for this."""
        ahead = 2 if self._task_seconds < SHORT_SECONDS else 1
        for depth in range(ahead):
            for seat in self._seats:
                if seat.worker and seat.ready and len(seat.tasks) == depth and (waiting := self._next()):
                    waiting.begun = time.monotonic()
                    seat.tasks.append(waiting)
                    call = seat.worker.call(waiting.function, waiting.args, waiting.kwargs)
                    self._then(call, partial(self._answered, seat, waiting))

    def _next(self) -> _Waiting | None:
        """The first waiting task that nobody has cancelled."""
        while self._queue:
            waiting = self._queue.popleft()
            if waiting.future.running() or waiting.future.set_running_or_notify_cancel():
                return waiting
        return None

    def _then(self, future: Future[Any], handle: Callable[[Future[Any]], None]) -> None:
        """Have this object's thread handle what becomes of a call."""
        future.add_done_callback(lambda done: self._events.put(partial(handle, done)))

    def _answered(self, seat: _Seat, waiting: _Waiting, done: Future[Any]) -> None:
        if waiting not in seat.tasks:
            return  # given up before it answered
        error = done.exception()
        if isinstance(error, WorkerLostError):
            self._lost(seat, error)
            return
        seat.tasks.remove(waiting)
        seat.answered = time.monotonic()
        self._task_seconds = seat.answered - waiting.begun
        if error is None:
            waiting.future.set_result(done.result())
        else:
            waiting.future.set_exception(error)

    def _lost(self, seat: _Seat, error: WorkerLostError) -> None:
        """A worker is gone: the task it ran is lost, the one behind it had not begun and waits again."""
        running, *behind = seat.tasks or (None,)
        seat.tasks.clear()
        self._queue.extendleft(behind)
        self._fill(seat)
        if running:
            running.future.set_exception(error)

    def _fill(self, seat: _Seat) -> None:
        """Start a worker in a seat, in place of the one there; it counts once it has answered a ping."""
        if seat.worker:
            seat.worker.kill()
        seat.worker = seat.start()
        seat.ready = False
        self._ping(seat, seat.worker)

    def _ping(self, seat: _Seat, worker: Worker) -> None:
        seat.pinged = True
        self._then(worker.ping(), partial(self._pong, seat, worker))

    def _pong(self, seat: _Seat, worker: Worker, done: Future[Any]) -> None:
        if seat.worker is not worker:
            return
        seat.pinged = False
        error = done.exception()
        if error is None:
            seat.answered, seat.ready, seat.failed_starts = time.monotonic(), True, 0
            self._first.set()
            self._tell_lacks()
        elif not seat.ready:
            self._did_not_start(seat, error)
        elif not seat.tasks:
            self._fill(seat)

    def _did_not_start(self, seat: _Seat, error: BaseException) -> None:
        """Try again a few times, unless the worker is unfit; when no seat can be filled, give up with the reason."""
        seat.failed_starts += 1
        self._trouble = str(error)
        if isinstance(error, UnfitWorkerError):
            self._leave_empty(seat)
        if seat.failed_starts < MAX_FAILED_STARTS:
            self._fill(seat)
        elif all(s.failed_starts >= MAX_FAILED_STARTS for s in self._seats):
            self._first.set()
            self._give_up(f"no worker starts any more: {self._trouble}")

    def _leave_empty(self, seat: _Seat) -> None:
        """Have nobody in the seat of an unfit worker: another one would come to sit where it did."""
        seat.failed_starts = MAX_FAILED_STARTS
        if seat.worker:
            seat.worker.kill()
        seat.worker = None
        for line in self._trouble.splitlines():
            self._lacks.setdefault(line, False)
        self._tell_lacks()

    def _tell_lacks(self) -> None:
        """Say once what some workers lack, as soon as there are others; if there are none, it is the error."""
        for line in [line for line, is_said in self._lacks.items() if self.slots and not is_said]:
            self._lacks[line] = True
            sys.stderr.write(f"{line}; its workers are not used\n")

    def _give_up(self, reason: str) -> None:
        while waiting := self._next():
            waiting.future.set_exception(ClusterError(reason))

    def _check_health(self) -> None:
        now = time.monotonic()
        if self.slots:
            self._last_up = now
        elif now - self._last_up > START_SECONDS:
            self._give_up(f"every worker was lost, and none came back within {START_SECONDS:.0f} s")
        for seat in self._seats:
            if not (seat.ready and seat.worker):
                continue
            if time.monotonic() - seat.answered > SILENCE_SECONDS:
                self._lost(seat, WorkerLostError(f"its worker did not answer for {SILENCE_SECONDS:.0f} s"))
            elif not seat.pinged:
                self._ping(seat, seat.worker)
