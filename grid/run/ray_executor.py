"""Tasks on Ray: the only `import ray`.

A pool of actors, one per slot, each pinned for life to the GPU (or the share of one) or CPU that Ray gave it. A plain
Ray task with GPUs would start a process per shard; an actor keeps its process, its CUDA context and its last models.
An actor runs one task at a time. What waits, waits in the driver, but for one task ahead where tasks are short. When an
actor or its node dies, the task it had comes back as WorkerLostError and another actor is asked for. An actor that
stops answering is given up as dead, as a node whose network was cut needs: Ray itself does not move its task.
"""

import logging
import math
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

from grid.errors import ClusterError
from grid.run.executor import WorkerLostError

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray.exceptions import RayError, RayTaskError

P = ParamSpec("P")
T = TypeVar("T")

CONNECT_SECONDS = 5.0
"""How long an address has to answer."""
START_SECONDS = 180.0
"""How long the first worker has to start (it imports torch, perhaps from a slow shared disk)."""
PING_SECONDS = 5.0
SILENCE_SECONDS = 60.0
"""A worker is pinged every PING_SECONDS; one that has not answered for SILENCE_SECONDS is given up."""

MAX_FAILED_STARTS = 3
SHORT_SECONDS = 0.1
"""Tasks that take less than this are given to a worker one ahead."""


@dataclass(frozen=True)
class Slot:
    """What one worker asks Ray for. A GPU worker asks for no CPU, or four on two CPUs would wait for ever."""

    gpu: float = 0.0

    @property
    def options(self) -> dict[str, Any]:
        """As actor options."""
        return {"num_gpus": self.gpu, "num_cpus": 0 if self.gpu else 1, "max_restarts": 0, "max_task_retries": 0}


@ray.remote(concurrency_groups={"health": 1})  # type: ignore[call-overload] # Ray's stubs do not know the keyword
class _Worker:
    """The actor: runs one function after the other, and answers pings meanwhile."""

    def __init__(self, on_gpu: bool) -> None:
        if not on_gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray shows every GPU to a worker that asked for none
        from grid.work import worker  # noqa: PLC0415 - imports torch, which must not see those GPUs

        context = ray.get_runtime_context()
        gpus = context.get_accelerator_ids().get("GPU", [])
        name = f"{socket.gethostname()}:{context.get_node_id()[:8]}:{os.getpid()}"
        worker.settle(worker.Place(name, ",".join(gpus) or None, ray.__version__), None if on_gpu else 1)

    @ray.method(concurrency_group="health")
    def ping(self) -> str:
        return ray.get_runtime_context().get_node_id()

    def call(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        return function(*args, **kwargs)


@dataclass(eq=False)
class _Seat:
    """One slot of the pool and the actor in it now."""

    slot: Slot
    actor: Any = None
    heard: float = 0.0
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


class RayExecutor:
    """An Executor whose slots are Ray actors.

    One thread owns the seats and is alone in calling Ray; everybody else, Ray's own callbacks included (in which a
    call to Ray would block for ever), leaves it something to do in `_events`.
    """

    def __init__(self, slots: list[Slot]) -> None:
        """Ask for one actor per slot and wait until the first is there. Raises ClusterError if none comes."""
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._queue: deque[_Waiting] = deque()
        self._seats = [_Seat(slot) for slot in slots]
        self._task_seconds = math.inf
        self._trouble = ""
        self._closing = False
        self._last_up = time.monotonic()
        self._first = threading.Event()
        for seat in self._seats:
            self._events.put(partial(self._fill, seat))
        self._thread = threading.Thread(target=self._serve, daemon=True, name="attackgrid-ray")
        self._thread.start()
        self._first.wait(START_SECONDS)
        if not self.slots:
            self._stop()
            reason = self._trouble or f"none within {START_SECONDS:.0f} s; `ray status` says what is taken"
            raise ClusterError(f"no Ray worker started: {reason}")

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
        """Kill the workers; leave a cluster that was joined, end one that was started here."""
        self._stop()
        ray.shutdown()

    def _stop(self) -> None:
        self._closing = True
        self._events.put(lambda: None)
        self._thread.join()
        for seat in self._seats:
            ray.kill(seat.actor, no_restart=True)

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
                if seat.ready and len(seat.tasks) == depth and (waiting := self._next()):
                    waiting.begun = time.monotonic()
                    seat.tasks.append(waiting)
                    call = seat.actor.call.remote(waiting.function, waiting.args, waiting.kwargs)
                    self._then(call, partial(self._answered, seat, waiting))

    def _next(self) -> _Waiting | None:
        """The first waiting task that nobody has cancelled."""
        while self._queue:
            waiting = self._queue.popleft()
            if waiting.future.running() or waiting.future.set_running_or_notify_cancel():
                return waiting
        return None

    def _then(self, reference: Any, handle: Callable[[Future[Any]], None]) -> None:  # noqa: ANN401 - Ray's ObjectRef
        """Have this object's thread handle what becomes of a call."""
        reference.future().add_done_callback(lambda done: self._events.put(partial(handle, done)))

    def _answered(self, seat: _Seat, waiting: _Waiting, done: Future[Any]) -> None:
        if waiting not in seat.tasks:
            return  # given up before it answered
        error = done.exception()
        if isinstance(error, RayError) and not isinstance(error, RayTaskError):
            self._lost(seat, f"its worker was lost ({type(error).__name__})")
            return
        seat.tasks.remove(waiting)
        seat.heard = time.monotonic()
        self._task_seconds = seat.heard - waiting.begun
        if error is None:
            waiting.future.set_result(done.result())
        else:
            waiting.future.set_exception(error)

    def _lost(self, seat: _Seat, reason: str) -> None:
        """A worker is gone: the task it ran is lost, the one behind it had not begun and waits again."""
        running, *behind = seat.tasks or (None,)
        seat.tasks.clear()
        self._queue.extendleft(behind)
        self._fill(seat)
        if running:
            running.future.set_exception(WorkerLostError(reason))

    def _fill(self, seat: _Seat) -> None:
        """Put a new actor into a seat; it counts once it has answered a ping."""
        if seat.actor is not None:
            ray.kill(seat.actor, no_restart=True)
        seat.actor = _Worker.options(**seat.slot.options).remote(seat.slot.gpu > 0)  # type: ignore[attr-defined] # made by ray.remote
        seat.ready = False
        self._ping(seat)

    def _ping(self, seat: _Seat) -> None:
        seat.pinged = True
        self._then(seat.actor.ping.remote(), partial(self._heard, seat, seat.actor))

    def _heard(self, seat: _Seat, actor: object, done: Future[Any]) -> None:
        if seat.actor is not actor:
            return
        seat.pinged = False
        error = done.exception()
        if error is None:
            seat.heard, seat.ready, seat.failed_starts = time.monotonic(), True, 0
            self._first.set()
        elif not seat.ready:
            self._did_not_start(seat, str(error))
        elif not seat.tasks:
            self._fill(seat)

    def _did_not_start(self, seat: _Seat, trouble: str) -> None:
        """Try again a few times; when no seat can be filled, give up with the reason."""
        seat.failed_starts += 1
        self._trouble = trouble
        if seat.failed_starts < MAX_FAILED_STARTS:
            self._fill(seat)
        elif all(s.failed_starts >= MAX_FAILED_STARTS for s in self._seats):
            self._first.set()
            self._give_up(f"no Ray worker starts any more: {trouble}")

    def _give_up(self, reason: str) -> None:
        while self._queue:
            self._queue.popleft().future.set_exception(ClusterError(reason))

    def _check_health(self) -> None:
        now = time.monotonic()
        if self.slots:
            self._last_up = now
        elif now - self._last_up > START_SECONDS:
            self._give_up(f"every Ray worker was lost, and none came back within {START_SECONDS:.0f} s")
        for seat in self._seats:
            if not seat.ready:
                continue
            if time.monotonic() - seat.heard > SILENCE_SECONDS:
                self._lost(seat, f"its worker did not answer for {SILENCE_SECONDS:.0f} s")
            elif not seat.pinged:
                self._ping(seat)


def start_local(cpus: int | None, gpus: int | None, gpu_fraction: float, *, pretend: bool = False) -> RayExecutor:
    """Start a Ray on this machine for this process only, with a worker per share of every GPU; without GPUs, per CPU.

    Raises ClusterError if there are fewer GPUs than asked for, unless `pretend` has Ray believe in them.
    """
    num_cpus = cpus or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cpus or os.cpu_count()
    _init(
        address="local",
        num_cpus=num_cpus,
        num_gpus=gpus if pretend else None,
        object_store_memory=100 * 1024**2,  # results never pass through it
    )
    return _pool("this machine", cpus, gpus, gpu_fraction)


def join(address: str, cpus: int | None, gpus: int | None, gpu_fraction: float) -> RayExecutor:
    """Join a running Ray ("auto", or HOST:PORT). By default a worker per share of every GPU; without GPUs, per CPU.

    Raises ClusterError if it does not answer or has less than was asked for.
    """
    if address != "auto":
        _knock(address)
    _init(address=address)
    return _pool(f"the Ray at {address}", cpus, gpus, gpu_fraction)


def _pool(where: str, cpus: int | None, gpus: int | None, gpu_fraction: float) -> RayExecutor:
    """The executor for what was asked for, of what Ray has."""
    there = ray.cluster_resources()  # type: ignore[no-untyped-call] # Ray leaves it untyped
    have_cpus, have_gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
    for name, asked, have in (("CPUs", cpus, have_cpus), ("GPUs", gpus, have_gpus)):
        if asked is not None and asked > have:
            ray.shutdown()
            raise ClusterError(f"{asked} {name} asked for, but {where} has {have}")
    use_gpus = have_gpus if gpus is None and cpus is None else gpus or 0
    per_gpu = [Slot(gpu_fraction)] * int(use_gpus / gpu_fraction + 1e-9)
    try:
        return RayExecutor(per_gpu or [Slot()] * (have_cpus if cpus is None else cpus))
    except ClusterError:
        ray.shutdown()
        raise


def _init(**options: Any) -> None:  # noqa: ANN401 - options of ray.init
    try:
        ray.init(
            include_dashboard=False if options["address"] == "local" else None,
            configure_logging=True,
            logging_level=logging.ERROR,
            log_to_driver=False,
            namespace="attackgrid",
            **options,
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, RayError) as error:
        raise ClusterError(f"Ray at {options['address']}: {str(error).strip().splitlines()[0]}") from error


def _knock(address: str) -> None:
    """Ray itself takes minutes to notice that nobody is there."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ClusterError(f"{address!r} is no Ray address: local, inline, auto or HOST:PORT is wanted")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ClusterError(f"no Ray answers at {address}: {error}. Is `ray start --head` running there?") from error
