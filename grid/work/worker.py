"""A worker's process: where it is, and how torch computes in it. Knows nothing of stores, tasks or Ray."""

import os
import socket
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Place:
    """Where this worker is: what every row it makes records."""

    worker: str = f"{socket.gethostname()}:{os.getpid()}"
    gpu: str | None = None
    ray: str | None = None


_place = Place()


def settle(place: Place | None = None, threads: int | None = None) -> None:
    """Once per worker, before any task: remember the place, and make torch's arithmetic repeatable."""
    global _place  # noqa: PLW0603 - one process is one worker
    _place = place or Place()
    if threads:
        torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without which cuBLAS may add up in another order
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def place() -> Place:
    """Where this process was settled."""
    return _place
