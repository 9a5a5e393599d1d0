"""A worker's own: where it is, what it keeps loaded, and what it says of itself in every row."""

import json
import os
import platform
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import pyarrow as pa
import torch
from safetensors.torch import load
from torch import Tensor

from grid import __version__
from grid.ranges import Range
from grid.store.store import Store
from grid.work.attempt import Settings
from tasks.config import Case, Cell
from tasks.model import Classifier, build_model, kept_split
from tasks.streams import sample_order
from tasks.types import DataError, DataRoot, ModelError


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


def samples_of(case: Case, positions: Range, root: DataRoot) -> tuple[Tensor, Tensor, Tensor]:
    """Images, labels and indices of the samples at some positions of a case's order."""
    split = kept_split(case.cell.dataset, "test", root)
    order = order_of(len(split.labels), case.order)
    if positions.stop > len(order):
        raise DataError(
            f"{case.cell.dataset.name}: position {positions.stop - 1} of the test split is asked for, but it has "
            f"{len(order)} images: lower samples.count"
        )
    samples = order[positions.start : positions.stop]
    return split.images.index_select(0, samples), split.labels.index_select(0, samples), samples


def signed(rows: pa.Table, cell: Cell, settings: Settings) -> pa.Table:
    """Rows with where and with what they were made."""
    for name, value in {**provenance(settings), "seed": cell.seed}.items():
        kind = pa.int64() if name == "seed" else pa.string()
        rows = rows.append_column(name, pa.repeat(pa.scalar(value, kind), len(rows)))
    return rows


def trained(store: Store, cell: Cell, settings: Settings) -> tuple[Classifier, str]:
    """A trained cell, ready to be attacked, and the SHA-256 of its weights."""
    return _model(settings.store, cell, root_of(settings), store.cells.digest(cell.id))


@lru_cache(maxsize=4)
def state_of(location: str, prepared_id: str, weights: str) -> dict[str, Tensor]:
    """What the prepare step of an attack made with some weights, on the device."""
    found = load(open_store(location).prepared.load(prepared_id, weights))
    return {name: tensor.to(device()) for name, tensor in found.items()}


@lru_cache(maxsize=1)
def open_store(location: str) -> Store:
    """The store that the worker's tasks are of."""
    return Store(location)


@lru_cache(maxsize=4)
def order_of(count: int, order: Literal["shuffled", "natural"]) -> Tensor:
    """The order of a split of so many images."""
    return sample_order(count, order)


@lru_cache(maxsize=4)
def _model(location: str, cell: Cell, root: DataRoot, present: str | None) -> tuple[Classifier, str]:
    """A trained cell, ready to be attacked, and the SHA-256 of its weights, which are to be the `present` ones."""
    del present  # only so that a cell whose weights have changed is loaded again
    raw, weights = open_store(location).cells.load(cell.id)
    model = build_model(cell, kept_split(cell.dataset, "test", root))
    try:
        model.load_state_dict(load(raw))
    except RuntimeError as error:
        raise ModelError(f"the stored weights of cell {cell.id} do not fit its architecture: {error}") from error
    return model.to(device()).eval(), weights


def root_of(settings: Settings) -> DataRoot:
    """Where the datasets lie."""
    return DataRoot(Path(settings.data_root), settings.download)


def device() -> torch.device:
    """The one that this worker computes on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def provenance(settings: Settings) -> dict[str, str | None]:
    """Where this is, and what of."""
    return {
        "host": socket.gethostname(),
        "device": str(device()),
        "gpu": _place.gpu,
        "worker": _place.worker,
        "versions": _versions(),
        "run_id": settings.run_id,
    }


@lru_cache(maxsize=1)
def _versions() -> str:
    versions = {
        "attackgrid": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "ray": _place.ray,
        "threads": torch.get_num_threads(),
    }
    return json.dumps(versions)
