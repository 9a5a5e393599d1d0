"""One attempt at one task, on a worker. Light: the driver, which only names `perform`, never imports torch."""

import socket
import traceback
from typing import Literal

from grid.errors import ForeignFileError, StoreError
from grid.work.task import Done, Failed, Settings, Task
from tasks.sources import RAISED


def perform(task: Task, settings: Settings) -> Done | Failed:
    """Do a task here and commit its result. What it raises comes back as data, so that any cluster can carry it."""
    from grid.work import bench, shards  # noqa: PLC0415 - imports torch, which only workers need

    try:
        return Done(shards.perform(task, bench.bench_for(settings)))
    except StoreError as error:
        kind: Literal["error", "store"] = "error" if isinstance(error, ForeignFileError) else "store"
        return _failed(kind, error)
    except RAISED as error:  # whatever a component raises is recorded, and the grid goes on
        return _failed("error", error)


def _failed(kind: Literal["error", "store"], error: BaseException) -> Failed:
    return Failed(kind, type(error).__name__, str(error), traceback.format_exc(), socket.gethostname())
