"""Runs as a store keeps them: the record and the events of each, and what failed in any of them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from grid.store import layout
from grid.store.files import Files
from grid.store.records import packed_record, read_records


class Runs:
    """The runs of a store, each by its id."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def save(self, run_id: str, record: Mapping[str, object]) -> None:
        """Write or rewrite the record of a run."""
        self._files.commit(layout.run(run_id, layout.RUN_RECORD), packed_record(record), replace=True)

    def append_event(self, run_id: str, event: Mapping[str, object]) -> None:
        """Add one line to a run's events."""
        self._files.append(layout.run(run_id, layout.EVENTS), json.dumps(event) + "\n")

    def all(self) -> Iterator[dict[str, Any]]:
        """Every run's record, oldest first. Raises ForeignFileError if one is torn."""
        names = self._files.names(layout.RUNS)
        yield from read_records(self._files, (layout.run(name, layout.RUN_RECORD) for name in names))


class Failures:
    """Every failed attempt at a task, by the id of the task."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def save(self, task_id: str, moment: str, record: Mapping[str, object]) -> None:
        """Keep one failed attempt at a task."""
        path = layout.failure(task_id, moment, record["attempt"])
        self._files.commit(path, packed_record(record), replace=True)

    def all(self) -> Iterator[dict[str, Any]]:
        """Every failure ever recorded, oldest first within a task. Raises ForeignFileError if a record is torn."""
        yield from read_records(self._files, self._files.walk(layout.FAILURES))
