"""A store, opened at its location: the one thing that the rest of grid has of all results.

A result exists when its file exists, whole and of the right making: each part says what counts. Knows nothing of SQL,
Ray or torch.
"""

import json

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


class Store:
    """A directory or bucket of results, in its parts."""

    def __init__(self, location: str) -> None:
        """Look at the store there, if there is one.

        Raises StoreVersionError if a newer attackgrid wrote it, StoreError if it is something else.
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
        """Make this a store, if it is not one. Raises StoreError if it cannot be written."""
        marker = {"format": FORMAT, "attackgrid": __version__}
        self._files.commit(layout.MARKER, json.dumps(marker).encode())
        trial = layout.trial(self.location)
        self._files.commit(trial, b"", replace=True)  # an existing store may have become read-only or full
        self._files.remove(trial)

    def _check_version(self) -> None:
        try:
            marker = json.loads(self._files.read(layout.MARKER))
            version = int(marker["format"])
        except FileNotFoundError:
            if self._files.names(""):
                raise StoreError(
                    f"{self.location}: not a store: it has files, but no {layout.MARKER}. Name an empty or a new "
                    f"directory."
                ) from None
            return
        except (ValueError, KeyError, TypeError) as error:
            where = f"{self.location}/{layout.MARKER}"
            raise ForeignFileError(f"{where}: not the marker of a store: {error!r}") from error
        if version > FORMAT:
            raise StoreVersionError(
                f"{self.location}: written by attackgrid {marker.get('attackgrid')} in store format {version}; this is "
                f"{__version__}, which reads up to format {FORMAT}. Update attackgrid."
            )
