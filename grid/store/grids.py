"""What the grids of a store ask for. Knows nothing of what is there of it."""

from collections.abc import Sequence

import pyarrow as pa

from grid.errors import UsageError
from grid.store import layout
from grid.store.files import Files
from grid.store.parquet import damage_named, local_path, packed, read_columns
from tasks.schema import PUBLISHED, WANTED
from tasks.words import unknown

_RELAUNCH = "Launch the grid's spec again."


class Grids:
    """The grids of a store, each by its name."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def save(self, name: str, document: str, wanted: pa.Table, published: pa.Table) -> None:
        """Keep what a grid asks for. An edited spec of the same name replaces it; results are never touched."""
        self._files.commit(layout.grid(name, layout.SPEC), document.encode(), replace=True)
        self._files.commit(layout.grid(name, layout.PUBLISHED), packed(published), replace=True)
        self._files.commit(layout.grid(name, layout.WANTED), packed(wanted), replace=True)

    def names(self) -> list[str]:
        """Names of the grids, sorted."""
        return [
            name
            for name in self._files.names(layout.GRIDS)
            if self._files.exists(layout.grid(name, layout.WANTED))  # which is written last
        ]

    def chosen(self, name: str | None) -> list[str]:
        """The grid of a name, or all of them. Raises UsageError if there is none of that name."""
        known = self.names()
        if name is None:
            return known
        if name not in known:
            raise UsageError(unknown("grid", name, known))
        return [name]

    def document(self, name: str) -> str:
        """The spec of a grid as it was launched, complete in itself."""
        return self._files.read(layout.grid(name, layout.SPEC)).decode()

    def document_path(self, name: str) -> str:
        """Where the spec of a grid lies, for messages about it."""
        return self._files.absolute(layout.grid(name, layout.SPEC))

    def wanted(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of what a grid wants, one row a case (WANTED).

        Raises ForeignFileError if it is torn, or lacks one of them.
        """
        path = layout.grid(name, layout.WANTED)
        long_texts = [column for column in columns if column.endswith("_json")]  # that thousands of rows share
        with damage_named(self._files, path, _RELAUNCH):
            return read_columns(self._files, path, WANTED, columns, repeated=long_texts)

    def wanted_path(self, name: str) -> str:
        """What a grid wants, as a local Parquet file of WANTED. Raises ForeignFileError if it is damaged."""
        return self._local(layout.grid(name, layout.WANTED), WANTED)

    def published_path(self, name: str) -> str:
        """What a grid is to be compared with, as a local Parquet file of PUBLISHED. Raises as `wanted_path`."""
        return self._local(layout.grid(name, layout.PUBLISHED), PUBLISHED)

    def _local(self, path: str, schema: pa.Schema) -> str:
        with damage_named(self._files, path, _RELAUNCH):
            return local_path(self._files, path, schema)
