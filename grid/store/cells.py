"""Trained cells as a store keeps them, and what names the weights that rows are made with.

Knows nothing of what the weights are.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, overload

import pyarrow as pa

from grid.errors import ForeignFileError
from grid.store import layout
from grid.store.files import Files
from grid.store.parquet import damage_named, local_path, packed, read_rows
from grid.store.records import packed_record, read_record, read_records
from tasks.cases import Case
from tasks.schema import HISTORY

_RETRAIN = "Remove the folder and launch again: the cell is trained anew."


class Cells:
    """The trained cells of a store, each by its id."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def facts(self, cell_id: str) -> dict[str, Any] | None:
        """What is recorded of a trained cell; None if it is not there, or not whole."""
        facts = read_record(self._files, layout.cell(cell_id, layout.CELL_FACTS))
        if facts is None:
            return None
        whole = self._files.size(layout.cell(cell_id, layout.WEIGHTS)) == facts.get("weights_bytes")
        return facts if whole else None

    def all(self) -> Iterator[dict[str, Any]]:
        """What is recorded of every trained cell, whole or not. Raises ForeignFileError if a record is torn."""
        names = layout.ids(self._files.names(layout.CELLS))
        yield from read_records(self._files, (layout.cell(name, layout.CELL_FACTS) for name in names))

    def digest(self, cell_id: str) -> str | None:
        """The SHA-256 that is recorded of a cell's weights; None if it is not there, or not whole."""
        facts = self.facts(cell_id)
        return str(facts["weights_sha256"]) if facts else None

    def weights_of(self, case: Case) -> str | None:
        """What the rows of a case are made with (see `name_weights`); None if one of its cells is not trained."""
        return name_weights(*(self.digest(cell.id) for cell in case.cells))

    def save(self, cell_id: str, weights: bytes, history: pa.Table, facts: Mapping[str, object]) -> bool:
        """Commit a trained cell; False if another worker's was there first (then that one counts)."""
        if self.facts(cell_id) is None and self._files.exists(layout.cell(cell_id, layout.CELL_FACTS)):
            self._files.set_aside(layout.cell(cell_id))
        sealed = {**facts, "weights_sha256": hashlib.sha256(weights).hexdigest(), "weights_bytes": len(weights)}
        contents = {
            layout.WEIGHTS: weights,
            layout.HISTORY: packed(history),
            layout.CELL_FACTS: packed_record(sealed),
        }
        return self._files.commit_folder(layout.cell(cell_id), contents, marker=layout.CELL_FACTS)

    def load(self, cell_id: str) -> tuple[bytes, str]:
        """A cell's weights (safetensors) and their SHA-256, verified. Raises ForeignFileError if they are not whole."""
        path = layout.cell(cell_id, layout.WEIGHTS)
        recorded = self.digest(cell_id)
        if recorded is None:
            raise ForeignFileError(f"{self._files.absolute(path)}: not there, or not whole. Launch again to train it.")
        weights = self._files.read(path)
        digest = hashlib.sha256(weights).hexdigest()
        if digest != recorded:
            raise ForeignFileError(
                f"{self._files.absolute(path)}: its SHA-256 is not the one in {layout.CELL_FACTS}: the file was "
                f"changed. Remove the folder and launch again: the cell is trained anew, and results of other weights "
                f"are redone."
            )
        return weights, digest

    def history(self, cell_id: str) -> pa.Table:
        """The history of a trained cell. Raises ForeignFileError if it is torn, or lacks a column."""
        path = layout.cell(cell_id, layout.HISTORY)
        with damage_named(self._files, path, _RETRAIN):
            return read_rows(self._files, path, HISTORY)

    def history_path(self, cell_id: str) -> str:
        """The history of a trained cell, as a local Parquet file of HISTORY. Raises as `history`."""
        path = layout.cell(cell_id, layout.HISTORY)
        with damage_named(self._files, path, _RETRAIN):
            return local_path(self._files, path, HISTORY)


@overload
def name_weights(*digests: str) -> str: ...
@overload
def name_weights(*digests: str | None) -> str | None: ...
def name_weights(*digests: str | None) -> str | None:
    """One text for the weights of a cell and, in a transfer, of its source: each one's SHA-256, joined by +.

    None if one is missing.
    """
    return "+".join(digest for digest in digests if digest) if all(digests) else None
