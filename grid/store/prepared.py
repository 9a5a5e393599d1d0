"""What prepare steps of attacks made, as a store keeps it. Knows nothing of what a state holds."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from grid.errors import ForeignFileError
from grid.store import layout
from grid.store.files import Files
from grid.store.records import packed_record, read_record, read_records


class Prepared:
    """The prepared attacks of a store, each by its id. One counts only with the weights that it was made with."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def facts(self, prepared_id: str, weights: str | None) -> dict[str, Any] | None:
        """What is recorded of a prepared attack; None if it is not there, not whole, or was made with other weights."""
        facts = read_record(self._files, layout.prepared(prepared_id, layout.PREPARED_FACTS))
        if facts is None:
            return None
        whole = self._files.size(layout.prepared(prepared_id, layout.STATE)) == facts.get("state_bytes")
        return facts if whole and facts.get("weights_sha256") == weights else None

    def all(self) -> Iterator[dict[str, Any]]:
        """What is recorded of every prepared attack. Raises ForeignFileError if a record is torn."""
        names = layout.ids(self._files.names(layout.PREPARED))
        yield from read_records(self._files, (layout.prepared(name, layout.PREPARED_FACTS) for name in names))

    def save(self, prepared_id: str, state: bytes, weights: str, facts: Mapping[str, object]) -> bool:
        """Commit what a prepare step made; False if another worker's was there first."""
        folder = layout.prepared(prepared_id)
        if self.facts(prepared_id, weights) is None and self._files.exists(folder):
            self._files.set_aside(folder)
        sealed = {
            **facts,
            "weights_sha256": weights,
            "state_sha256": hashlib.sha256(state).hexdigest(),
            "state_bytes": len(state),
        }
        contents = {layout.STATE: state, layout.PREPARED_FACTS: packed_record(sealed)}
        return self._files.commit_folder(folder, contents, marker=layout.PREPARED_FACTS)

    def load(self, prepared_id: str, weights: str) -> bytes:
        """What a prepare step made (safetensors), verified. Raises ForeignFileError if it is not whole."""
        path = layout.prepared(prepared_id, layout.STATE)
        facts = self.facts(prepared_id, weights)
        state = self._files.read(path) if facts else b""
        if facts is None or hashlib.sha256(state).hexdigest() != facts["state_sha256"]:
            where = self._files.absolute(path)
            raise ForeignFileError(f"{where}: not there, or not whole. Remove it and launch again.")
        return state
