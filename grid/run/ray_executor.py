"""Tasks on Ray: starts one or joins one, and has a pool of its actors. The only `import ray`.

Each worker is an actor, pinned for life to the GPU (or the share of one) or CPU that Ray gave it. A plain Ray task
with GPUs would start a process per shard; an actor keeps its process, its CUDA context and its last models. Which
actor runs what, and what happens when one dies, is the pool's: Ray itself retries and restarts nothing, and would not
move the task of a node that is cut off.
"""

import logging
import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from grid.errors import ClusterError, MissingError
from grid.run.executor import UnfitWorkerError, WorkerLostError
from grid.run.pool import Pool
from grid.work.requirements import Requirements, lacking

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray.exceptions import RayError, RayTaskError

T = TypeVar("T")

CONNECT_SECONDS = 5.0
"""How long an address has to answer."""


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

    def __init__(self, on_gpu: bool, required: Requirements | None) -> None:
        if not on_gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray shows every GPU to a worker that asked for none
        from grid.work import worker  # noqa: PLC0415 - imports torch, which must not see those GPUs

        context = ray.get_runtime_context()
        gpus = context.get_accelerator_ids().get("GPU", [])
        name = f"{socket.gethostname()}:{context.get_node_id()[:8]}:{os.getpid()}"
        worker.settle(worker.Place(name, ",".join(gpus) or None, ray.__version__), None if on_gpu else 1)
        self._lacks = [f"node {socket.gethostname()}: {line}" for line in lacking(required)] if required else []

    @ray.method(concurrency_group="health")
    def ping(self) -> list[str]:
        """What this worker lacks of what the tasks need, a line for each thing."""
        return self._lacks

    def call(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> T:
        return function(*args, **kwargs)


class _Actor:
    """An actor as the pool uses it."""

    def __init__(self, slot: Slot, required: Requirements | None) -> None:
        self._handle = _Worker.options(**slot.options).remote(slot.gpu > 0, required)  # type: ignore[attr-defined] # made by ray.remote

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], /) -> Future[Any]:
        answer: Future[Any] = Future()
        self._handle.call.remote(function, args, kwargs).future().add_done_callback(partial(_hand_on, answer))
        return answer

    def ping(self) -> Future[Any]:
        pong: Future[Any] = Future()
        self._handle.ping.remote().future().add_done_callback(partial(_judge, pong))
        return pong

    def kill(self) -> None:
        ray.kill(self._handle, no_restart=True)


def _hand_on(answer: Future[Any], done: Future[Any]) -> None:
    """What became of a call, without Ray's errors."""
    error = done.exception()
    if error is None:
        answer.set_result(done.result())
    elif isinstance(error, RayError) and not isinstance(error, RayTaskError):
        answer.set_exception(WorkerLostError(f"its worker was lost ({type(error).__name__})"))
    else:
        answer.set_exception(error)


def _judge(pong: Future[Any], done: Future[Any]) -> None:
    """What became of a ping: a worker that lacks something is not fit."""
    error = done.exception()
    if error is None and done.result():
        error = UnfitWorkerError("\n".join(done.result()))
    if error is None:
        pong.set_result(None)
    else:
        pong.set_exception(error)


def start_local(cpus: int | None, gpus: int | None, gpu_fraction: float, *, pretend: bool = False) -> Pool:
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
    return _pool("this machine", cpus, gpus, gpu_fraction, None)


def join(
    address: str, cpus: int | None, gpus: int | None, gpu_fraction: float, required: Requirements | None = None
) -> Pool:
    """Join a running Ray ("auto", or HOST:PORT). By default a worker per share of every GPU; without GPUs, per CPU.

    Each worker looks whether its node has what is `required`; those that do not are given no task, and it is said.
    Raises ClusterError if it does not answer or has less than was asked for, MissingError if no worker is fit.
    """
    if address != "auto":
        _knock(address)
    _init(address=address)
    return _pool(f"the Ray at {address}", cpus, gpus, gpu_fraction, required)


def _pool(where: str, cpus: int | None, gpus: int | None, gpu_fraction: float, required: Requirements | None) -> Pool:
    """The executor for what was asked for, of what Ray has."""
    there = ray.cluster_resources()  # type: ignore[no-untyped-call] # Ray leaves it untyped
    have_cpus, have_gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
    for name, asked, have in (("CPUs", cpus, have_cpus), ("GPUs", gpus, have_gpus)):
        if asked is not None and asked > have:
            ray.shutdown()
            raise ClusterError(f"{asked} {name} asked for, but {where} has {have}")
    use_gpus = have_gpus if gpus is None and cpus is None else gpus or 0
    per_gpu = [Slot(gpu_fraction)] * int(use_gpus / gpu_fraction + 1e-9)
    slots = per_gpu or [Slot()] * (have_cpus if cpus is None else cpus)
    try:
        return Pool([partial(_Actor, slot, required) for slot in slots], on_close=ray.shutdown)
    except MissingError:
        ray.shutdown()
        raise
    except ClusterError as error:
        ray.shutdown()
        raise ClusterError(f"{where}: {error}. `ray status` says what is taken.") from error


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
