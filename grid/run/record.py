"""What a run leaves in its store: its record, its events, its failures. Knows nothing of what is run next, and why."""

import os
import platform
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from grid import __version__
from grid.errors import GridError, StoreError
from grid.plan.plan import Plan
from grid.store.store import Store
from grid.work.task import Failed, Task
from tasks.cases import Case
from tasks.config import canonical


def new_run_id() -> str:
    """Sorts by time: 20260131T120000-1a2b3c4d."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"


@contextmanager
def recorded(store: Store, run_id: str, grid: str, plan: Plan) -> Iterator[Callable[..., None]]:
    """Record a run; gives `close(outcome, **facts)`, for when it has ended. One that raises is closed with why."""
    record = _begun(run_id, grid, plan)
    store.runs.save(run_id, record)

    def close(outcome: str, **facts: object) -> None:
        store.runs.save(run_id, {**record, "finished": _now("seconds"), "outcome": outcome, **facts})

    try:
        yield close
    except (GridError, KeyboardInterrupt) as error:
        with suppress(StoreError):  # a store that refuses this too must not hide why
            close("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", error=str(error))
        raise


class Journal:
    """The events of a run, and its failed tasks."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id

    def event(self, task: Task, event: str, **facts: object) -> None:
        """How a task ended. Raises StoreError."""
        line = {"time": _now("milliseconds"), "event": event, "task": task.id, **facts}
        self._store.runs.append_event(self._run_id, line)

    def failure(self, task: Task, failed: Failed, attempt: int, cases: Iterable[Case | None]) -> None:
        """A task that left no result: a record for each of the cases that it holds up. Raises StoreError."""
        moment = _now("microseconds")
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
            "attempt": attempt,
            "time": moment,
            "run_id": self._run_id,
        }
        for number, case in enumerate(cases):
            about = {"cell_id": case.cell.id, "case_id": case.id} if case else {}
            self._store.failures.save(task.id, f"{moment}-{number}", {**record, **about})


def _begun(run_id: str, grid: str, plan: Plan) -> dict[str, object]:
    commit, dirty = _git()
    return {
        "run_id": run_id,
        "grid": grid,
        "started": _now("seconds"),
        "finished": None,
        "outcome": "running",
        "done": 0,
        "failed": 0,
        "skipped": 0,
        "commit": commit,
        "dirty": dirty,
        "versions": canonical({"attackgrid": __version__, "python": platform.python_version()}),
        "host": socket.gethostname(),
        "command": " ".join(sys.argv),
        "plan": {key: value for key, value in asdict(replace(plan, work=[])).items() if key != "work"},
    }


def _git() -> tuple[str | None, bool | None]:
    """Commit of the attackgrid that runs, and whether its files differ from it; None if it is not a checkout."""
    here = Path(__file__).parents[2]
    if not (here / ".git").exists():
        return None, None
    ask = ["git", "-C", os.fspath(here)]
    try:
        commit = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S603 - fixed words
        status = subprocess.run([*ask, "status", "--porcelain"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S603 - fixed words
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit.stdout.strip(), bool(status.stdout.strip())


def _now(precision: str) -> str:
    return datetime.now(UTC).isoformat(timespec=precision)
