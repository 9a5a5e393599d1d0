"""What a worker has at hand for its tasks, opened once: the store, the data, the device, and what it keeps loaded.

Knows nothing of what a task does with it, nor of Ray or the run around it.
"""

import json
import platform
import socket
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
from grid.work.task import Settings
from grid.work.worker import Place, place
from tasks.cases import Case
from tasks.config import Cell, Component
from tasks.model import Classifier, build_model, kept_split
from tasks.streams import sample_order
from tasks.types import DataError, DataRoot, ModelError, Split


class Bench:
    """One process and one run's settings.

    `batch_size`: samples that an attack or a probe is given at a time. `fixed_batch`: the padded size of every pass of
    a model, None for none. `provenance`: where results are made here, and with what: columns of every row.
    """

    def __init__(self, settings: Settings, where: Place) -> None:
        """Open the store. Raises StoreError."""
        self.store = Store(settings.store)
        self.root = DataRoot(Path(settings.data_root), settings.download)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.batch_size = settings.batch_size
        self.fixed_batch = settings.fixed_batch
        self.provenance: dict[str, str | None] = {
            "host": socket.gethostname(),
            "device": str(self.device),
            "gpu": where.gpu,
            "worker": where.worker,
            "versions": _versions(where),
            "run_id": settings.run_id,
        }
        self._model = lru_cache(maxsize=4)(self._load_model)
        self._state = lru_cache(maxsize=4)(self._load_state)

    def split(self, dataset: Component, name: str) -> Split:
        """A split of a dataset, on the CPU. Raises DataError."""
        return kept_split(dataset, name, self.root)

    def samples_of(self, case: Case, positions: Range) -> tuple[Tensor, Tensor, Tensor]:
        """Images, labels and indices of the samples at some positions of a case's order. Raises DataError."""
        split = self.split(case.cell.dataset, "test")
        order = order_of(len(split.labels), case.order)
        if positions.stop > len(order):
            raise DataError(
                f"{case.cell.dataset.name}: position {positions.stop - 1} of the test split is asked for, but it has "
                f"{len(order)} images: lower samples.count"
            )
        samples = order[positions.start : positions.stop]
        return split.images.index_select(0, samples), split.labels.index_select(0, samples), samples

    def trained(self, cell: Cell) -> tuple[Classifier, str]:
        """A trained cell on the device, ready to be attacked, and the SHA-256 of its weights.

        Raises ForeignFileError if they are not there or not whole, ModelError if they are those of another model.
        """
        return self._model(cell, self.store.cells.digest(cell.id))

    def state_of(self, prepared_id: str, weights: str) -> dict[str, Tensor]:
        """What the prepare step of an attack made with some weights, on the device. Raises ForeignFileError."""
        return self._state(prepared_id, weights)

    def signed(self, rows: pa.Table, cell: Cell) -> pa.Table:
        """Rows with where and with what they were made."""
        for name, value in {**self.provenance, "seed": cell.seed}.items():
            kind = pa.int64() if name == "seed" else pa.string()
            rows = rows.append_column(name, pa.repeat(pa.scalar(value, kind), len(rows)))
        return rows

    def _load_model(self, cell: Cell, present: str | None) -> tuple[Classifier, str]:
        del present  # only so that a cell whose weights have changed is loaded again
        raw, weights = self.store.cells.load(cell.id)
        model = build_model(cell, self.split(cell.dataset, "test"))
        try:
            model.load_state_dict(load(raw))
        except RuntimeError as error:
            raise ModelError(f"the stored weights of cell {cell.id} do not fit its architecture: {error}") from error
        return model.to(self.device).eval(), weights

    def _load_state(self, prepared_id: str, weights: str) -> dict[str, Tensor]:
        tensors = load(self.store.prepared.load(prepared_id, weights))
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}


@lru_cache(maxsize=1)
def bench_for(settings: Settings) -> Bench:
    """The bench of this process, opened by the first task with these settings. Raises StoreError."""
    return Bench(settings, place())


@lru_cache(maxsize=4)
def order_of(count: int, order: Literal["shuffled", "natural"]) -> Tensor:
    """The order of a split of so many images: (count,), int64."""
    return sample_order(count, order)


def _versions(where: Place) -> str:
    versions = {
        "attackgrid": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "ray": where.ray,
        "threads": torch.get_num_threads(),
    }
    return json.dumps(versions)
