"""Trainings that are not done, as a store keeps them: how far each is, and what it goes on from.

What is kept of one goes when its cell is there. Knows nothing of what a state holds.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from grid.store import layout
from grid.store.files import Files
from grid.store.parquet import packed, read_rows
from grid.store.records import read_record
from tasks.schema import MEASURES, without_provenance


class Trainings:
    """The unfinished trainings of a store, each by the id of its cell."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def tell(self, cell_id: str, facts: Mapping[str, object]) -> None:
        """Say how far a training is."""
        self._files.commit(layout.training(cell_id, layout.PROGRESS), json.dumps(facts).encode(), replace=True)

    def told(self, cell_id: str) -> dict[str, Any] | None:
        """How far a training is, as far as anyone said."""
        return read_record(self._files, layout.training(cell_id, layout.PROGRESS))

    def all(self) -> Iterator[dict[str, Any]]:
        """How far every one is."""
        for cell_id in self._files.names(layout.TRAINING):
            facts = self.told(cell_id)
            if facts and not self._files.exists(layout.cell(cell_id, layout.CELL_FACTS)):
                yield {"cell_id": cell_id, **facts}

    def keep(self, cell_id: str, state: bytes, traced: Mapping[str, pa.Table]) -> None:
        """Keep what a training goes on from, and what probes have found in its epochs so far, by case."""
        for case_id, rows in traced.items():  # first, so that a state never has more epochs than they
            self._files.commit(layout.traced(cell_id, case_id), packed(rows), replace=True)
        self._files.commit(layout.training(cell_id, layout.STATE), state, replace=True)

    def kept(self, cell_id: str, cases: Iterable[str]) -> tuple[bytes | None, dict[str, pa.Table]]:
        """The state of a training that was cut off, and what probes had found; None unless all of it is there."""
        try:
            state = self._files.read(layout.training(cell_id, layout.STATE))
            return state, {case: self._traced(cell_id, case) for case in cases}
        except (OSError, pa.ArrowException):
            return None, {}

    def _traced(self, cell_id: str, case_id: str) -> pa.Table:
        """Only the columns that the epochs to come have as well. Raises as `read_rows`."""
        schema = without_provenance(MEASURES)
        return read_rows(self._files, layout.traced(cell_id, case_id), schema).select(schema.names)

    def set_aside(self, cell_id: str) -> str:
        """Put away a state that nothing can go on from; where to."""
        return self._files.absolute(self._files.set_aside(layout.training(cell_id, layout.STATE)))

    def forget(self, cell_id: str) -> None:
        """Remove what was kept of a training that is done."""
        self._files.remove_folder(layout.training(cell_id))
