"""A store, opened at its location: the one thing that the rest of grid has of all results.

A result exists when its file exists, whole and of the right making: each part says what counts. Knows nothing of SQL,
Ray or torch.
"""

import json
import re

from grid import __version__
from grid.errors import ForeignFileError, StoreError, StoreVersionError
from grid.store import layout
from grid.store.cells import Cells
from grid.store.files import Files
from grid.store.grids import Grids
from grid.store.prepared import Prepared
from grid.store.runs import Failures, Runs
from grid.store.shards import Shards
from grid.store.unfinished import Trainings
from tasks.schema import FORMAT

_VERSION = re.compile(r"[0-9A-Za-z.+!-]{1,40}")


class Store:
    """A directory or bucket of results, in its parts."""

    def __init__(self, location: str) -> None:
        """Look at the store there, if there is one.

        Raises StoreVersionError if it is in another format, ForeignFileError if its marker is damaged, StoreError if
        it is something else.
        """
        files = Files(location)
        self.location = location
        self._files = files
        self.grids = Grids(files)
        self.cells = Cells(files)
        self.trainings = Trainings(files)
        self.prepared = Prepared(files)
        self.shards = Shards(files)
        self.failures = Failures(files)
        self.runs = Runs(files)
        self._check_version()

    @classmethod
    def existing(cls, location: str) -> "Store":
        """The store at a location, which must be there. Raises StoreError."""
        store = cls(location)
        if not store.exists():
            raise StoreError(f"{location}: no store here. `attackgrid launch SPEC --store {location}` makes one.")
        return store

    @property
    def absolute_location(self) -> str:
        """The location as a process in another folder has to name it."""
        return self._files.root if self._files.local else self.location

    def exists(self) -> bool:
        """Whether there is a store here yet."""
        return self._files.exists(layout.MARKER)

    def create(self) -> None:
        """Make this a store, if it is not one. Raises StoreError if it cannot be written, or has become another's."""
        marker = {"format": FORMAT, "attackgrid": __version__}
        if not self._files.commit(layout.MARKER, json.dumps(marker).encode()):
            self._check_version()  # of two versions that begin it at the same time, the first one counts
        trial = layout.trial(self.location)
        self._files.commit(trial, b"", replace=True)  # an existing store may have become read-only or full
        self._files.remove(trial)

    def _check_version(self) -> None:
        try:
            data = self._files.read(layout.MARKER)
        except FileNotFoundError:
            if self._files.names(""):
                raise StoreError(
                    f"{self.location}: not a store: it has files, but no {layout.MARKER}. Name an empty or a new "
                    f"directory."
                ) from None
            return
        version, writer = _read_marker(data, f"{self.location}/{layout.MARKER}")
        if version != FORMAT:
            raise StoreVersionError(f"{self.location}: {_refusal(version, writer)}")


def _refusal(version: int, writer: str) -> str:
    """Why a store of another format is not read, and what reads it. `writer` is empty where the store does not say."""
    if version > FORMAT:
        remedy = f"Update attackgrid to {writer} or newer." if writer else "Update attackgrid."
    else:
        remedy = f"attackgrid {writer} reads it." if writer else "An older attackgrid reads it."
    return (
        f"written by {f'attackgrid {writer}' if writer else 'another attackgrid'} in store format {version}; this is "
        f"{__version__}, which reads format {FORMAT}. {remedy}"
    )


def _read_marker(data: bytes, where: str) -> tuple[int, str]:
    """The format of a store and the version that made it (or nothing), as its marker says. Raises ForeignFileError."""
    try:
        marker = json.loads(data)
    except (ValueError, RecursionError) as error:
        why = "not text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ForeignFileError(f"{where}: not the marker of a store: {why}") from error
    version, writer = (marker.get(key) if isinstance(marker, dict) else None for key in ("format", "attackgrid"))
    if type(version) is not int or not 0 < version < 1_000_000:
        raise ForeignFileError(f"{where}: not the marker of a store: it names no format")
    is_named = isinstance(writer, str) and _VERSION.fullmatch(writer)
    return version, str(writer) if is_named else ""
