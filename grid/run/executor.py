"""Where tasks run, behind the vocabulary of `concurrent.futures`; and the executor that needs no cluster."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class WorkerLostError(Exception):
    """The worker died, or its node did, before it answered: nothing is known of the task. Trying again is right."""


class UnfitWorkerError(Exception):
    """The worker is up, but lacks what the tasks need, and would again if it were started again there.

    The message has a line for each thing.
    """


class Executor(Protocol):
    """Something that runs functions somewhere. What the function raises, and WorkerLostError, are in the future."""

    @property
    def slots(self) -> int:
        """How many tasks can run at the same time now."""
        ...

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the function when a slot is free."""
        ...

    def close(self) -> None:
        """Stop at once; what still runs is lost."""
        ...


class InlineExecutor:
    """Runs each task in this process, at the moment it is submitted."""

    slots = 1

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the function now; the future that comes back is done."""
        future: Future[T] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - an executor hands on whatever was raised
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing runs between two submits."""
