"""The layout of a store: what lies where, how it is committed, and what of it counts. The only module that knows.

    store.json                                        the version of the layout
    grids/<name>/spec.yaml, wanted.parquet, published.parquet
    cells/<cell>/cell.json, weights.safetensors, history.parquet
    training/<cell>/progress.json, state.safetensors  a training that is not done: gone when the cell is there
    prepared/<prepared>/prepared.json, state.safetensors
    shards/<case>/<start>-<stop>.parquet              positions of the sample order of an attack's or a probe's case,
                                                      each with as many rows
    failures/<task>/<time>-<attempt>.json
    runs/<run>/run.json, events.jsonl

A result exists when its file exists. A file that is torn, or was made with other weights than its cell has now, is
not a result: it is passed over, named, and set aside by the next launch. Knows nothing of SQL, Ray or torch.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, overload

import pyarrow as pa
import pyarrow.parquet as pq

from grid import __version__
from grid.errors import ForeignFileError, StoreError, StoreVersionError
from grid.ranges import Range, cover
from grid.store.files import Files
from grid.store.parquet import packed, read_rows
from grid.store.unfinished import Trainings
from tasks.config import Case
from tasks.schema import FORMAT, MEASURES, SAMPLES

_SHARD = re.compile(r"(\d+)-(\d+)\.parquet")
_CASE_KEY, _WEIGHTS_KEY, _RESOLVED_KEY = b"attackgrid.case", b"attackgrid.weights", b"attackgrid.resolved"
_ROWS_KEY = b"attackgrid.rows"


@dataclass(frozen=True)
class ShardFile:
    """One file of results, the positions its name says it has, and what it says of its origin.

    `weights` names the weights it was made with (see `weights_of`), `resolved` is the JSON that the case's id stands
    for, and each position has `rows` rows: one for each target.
    """

    path: str
    positions: Range
    weights: str = ""
    resolved: str = ""
    rows: int = 1


@dataclass(frozen=True)
class Inventory:
    """The shard files of one case: those that are whole, and those that are not, with the reason."""

    whole: list[ShardFile] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)


class Store:
    """A directory or bucket of results."""

    def __init__(self, location: str) -> None:
        """Look at the store there, if there is one.

        Raises StoreVersionError if a newer attackgrid wrote it, StoreError if it is something else.
        """
        self.files = Files(location)
        self.trainings = Trainings(self.files)
        self.location = location
        self._check_version()

    @classmethod
    def existing(cls, location: str) -> "Store":
        """The store at a location, which must be there. Raises StoreError."""
        store = cls(location)
        if not store.exists():
            raise StoreError(f"{location}: no store here. `attackgrid launch SPEC --store {location}` makes one.")
        return store

    def exists(self) -> bool:
        """Whether there is a store here yet."""
        return self.files.exists("store.json")

    def create(self) -> None:
        """Make this a store, if it is not one. Raises StoreError if it cannot be written."""
        marker = {"format": FORMAT, "attackgrid": __version__}
        self.files.commit("store.json", json.dumps(marker).encode())
        probe = f"runs/.probe-{hashlib.sha256(self.location.encode()).hexdigest()[:8]}"
        self.files.commit(probe, b"", replace=True)  # an existing store may have become read-only or full
        self.files.remove(probe)

    # grids ---------------------------------------------------------------------------------------------------------

    def save_grid(self, name: str, document: str, wanted: pa.Table, published: pa.Table) -> None:
        """Keep what a grid asks for. An edited spec of the same name replaces it; results are never touched."""
        self.files.commit(f"grids/{name}/spec.yaml", document.encode(), replace=True)
        self.files.commit(f"grids/{name}/published.parquet", packed(published), replace=True)
        self.files.commit(f"grids/{name}/wanted.parquet", packed(wanted), replace=True)

    def grids(self) -> list[str]:
        """Names of the grids, sorted."""
        return [name for name in self.files.names("grids") if self.files.exists(f"grids/{name}/wanted.parquet")]

    def grid_document(self, name: str) -> str:
        """The spec of a grid as it was launched, complete in itself."""
        return self.files.read(f"grids/{name}/spec.yaml").decode()

    # cells ---------------------------------------------------------------------------------------------------------

    def cell_facts(self, cell_id: str) -> dict[str, Any] | None:
        """What is recorded of a trained cell; None if it is not there, or not whole."""
        try:
            facts: dict[str, Any] = json.loads(self.files.read(f"cells/{cell_id}/cell.json"))
        except FileNotFoundError:
            return None
        except ValueError:
            return None
        whole = self.files.size(f"cells/{cell_id}/weights.safetensors") == facts.get("weights_bytes")
        return facts if whole else None

    def save_cell(self, cell_id: str, weights: bytes, history: pa.Table, facts: Mapping[str, object]) -> bool:
        """Commit a trained cell; False if another worker's was there first (then that one counts)."""
        if self.cell_facts(cell_id) is None and self.files.exists(f"cells/{cell_id}/cell.json"):
            self.files.set_aside(f"cells/{cell_id}")
        sealed = {**facts, "weights_sha256": hashlib.sha256(weights).hexdigest(), "weights_bytes": len(weights)}
        contents = {
            "weights.safetensors": weights,
            "history.parquet": packed(history),
            "cell.json": json.dumps(sealed, indent=1).encode(),
        }
        return self.files.commit_folder(f"cells/{cell_id}", contents, marker="cell.json")

    def load_weights(self, cell_id: str) -> tuple[bytes, str]:
        """A cell's weights (safetensors) and their SHA-256, verified. Raises ForeignFileError if they are not whole."""
        path = f"cells/{cell_id}/weights.safetensors"
        facts = self.cell_facts(cell_id)
        if facts is None:
            raise ForeignFileError(f"{self.files.absolute(path)}: not there, or not whole. Launch again to train it.")
        weights = self.files.read(path)
        found = hashlib.sha256(weights).hexdigest()
        if found != facts["weights_sha256"]:
            raise ForeignFileError(
                f"{self.files.absolute(path)}: its SHA-256 is not the one in cell.json: the file was changed. Remove "
                f"the folder and launch again: the cell is trained anew, and results of other weights are redone."
            )
        return weights, found

    def weights_of(self, case: Case) -> str | None:
        """What the rows of a case are made with: the SHA-256 of the weights of its cell, and of its source's if any.

        None if one of them is not trained.
        """
        facts = [self.cell_facts(cell.id) for cell in case.cells]
        return name_weights(*(str(each["weights_sha256"]) if each else None for each in facts))

    def history(self, cell_id: str) -> pa.Table:
        """The history of a trained cell. Raises ForeignFileError if it is torn."""
        path = f"cells/{cell_id}/history.parquet"
        try:
            return read_rows(self.files, path)
        except (OSError, pa.ArrowException) as error:
            raise ForeignFileError(f"{self.files.absolute(path)}: not there, or torn: {error}") from error

    # prepared attacks ----------------------------------------------------------------------------------------------

    def prepared_facts(self, prepared_id: str, weights: str | None) -> dict[str, Any] | None:
        """What is recorded of a prepared attack; None if it is not there, not whole, or was made with other weights."""
        try:
            facts: dict[str, Any] = json.loads(self.files.read(f"prepared/{prepared_id}/prepared.json"))
        except (FileNotFoundError, ValueError):
            return None
        whole = self.files.size(f"prepared/{prepared_id}/state.safetensors") == facts.get("state_bytes")
        return facts if whole and facts.get("weights_sha256") == weights else None

    def save_prepared(self, prepared_id: str, state: bytes, weights: str, facts: Mapping[str, object]) -> bool:
        """Commit what a prepare step made; False if another worker's was there first."""
        if self.prepared_facts(prepared_id, weights) is None and self.files.exists(f"prepared/{prepared_id}"):
            self.files.set_aside(f"prepared/{prepared_id}")
        sealed = {
            **facts,
            "weights_sha256": weights,
            "state_sha256": hashlib.sha256(state).hexdigest(),
            "state_bytes": len(state),
        }
        contents = {"state.safetensors": state, "prepared.json": json.dumps(sealed, indent=1).encode()}
        return self.files.commit_folder(f"prepared/{prepared_id}", contents, marker="prepared.json")

    def load_state(self, prepared_id: str, weights: str) -> bytes:
        """What a prepare step made (safetensors), verified. Raises ForeignFileError if it is not whole."""
        path = f"prepared/{prepared_id}/state.safetensors"
        facts = self.prepared_facts(prepared_id, weights)
        state = self.files.read(path) if facts else b""
        if facts is None or hashlib.sha256(state).hexdigest() != facts["state_sha256"]:
            raise ForeignFileError(f"{self.files.absolute(path)}: not there, or not whole. Remove it and launch again.")
        return state

    def prepared(self) -> Iterator[dict[str, Any]]:
        """What is recorded of every prepared attack."""
        names = (name for name in self.files.names("prepared") if "." not in name)
        yield from self._json(f"prepared/{name}/prepared.json" for name in names)

    # shards --------------------------------------------------------------------------------------------------------

    def save_shard(self, case_id: str, positions: Range, rows: pa.Table, weights: str, resolved: str) -> bool:
        """Commit the rows of some positions, those of SAMPLES or of MEASURES; False if they were there first.

        `weights` names the weights they were made with, `resolved` is the JSON the case's id stands for.
        """
        each = str(len(rows) // (positions.stop - positions.start))
        seal = {_CASE_KEY: case_id, _WEIGHTS_KEY: weights, _RESOLVED_KEY: resolved, _ROWS_KEY: each}
        schema = MEASURES if "measure" in rows.column_names else SAMPLES
        data = packed(pa.Table.from_arrays([rows[name] for name in schema.names], schema=schema), seal)
        return self.files.commit(f"shards/{case_id}/{positions.start}-{positions.stop}.parquet", data)

    def cases_with_shards(self) -> set[str]:
        """Ids of the cases of which anything is stored."""
        return set(self.files.names("shards"))

    def inventory(self, case_id: str, weights: str | None) -> Inventory:
        """The shard files of a case, each opened far enough to know that it is whole and made with these weights."""
        while True:
            with suppress(FileNotFoundError):  # merged into another since it was listed
                return self._inventory(case_id, weights)

    def _inventory(self, case_id: str, weights: str | None) -> Inventory:
        found = Inventory()
        for name in self.files.names(f"shards/{case_id}"):
            match = _SHARD.fullmatch(name)
            if match:
                path = f"shards/{case_id}/{name}"
                try:
                    file = self._look(path, Range(int(match[1]), int(match[2])), case_id)
                except ForeignFileError as error:
                    found.broken.append((path, str(error)))
                    continue
                if weights in {None, file.weights}:
                    found.whole.append(file)
                else:
                    found.broken.append((path, "made with other weights than its cell has now"))
        return found

    def shard_names(self, case_id: str) -> list[str]:
        """Names of the files of a case, unopened."""
        return [name for name in self.files.names(f"shards/{case_id}") if _SHARD.fullmatch(name)]

    def usable(self, case_id: str, weights: str | None) -> list[Range]:
        """The positions of a case that are stored; files that are no results are set aside, so they can be redone."""
        found = self.inventory(case_id, weights)
        for path, _ in found.broken:
            self.files.set_aside(path)
        return [file.positions for file in found.whole]

    def compact(self, case_id: str) -> bool:
        """Merge a case's files into one per stretch without gaps; whether there was anything to merge.

        The merged file is committed before its parts go, and readers take of overlapping files each position once.
        """
        files = self.inventory(case_id, None).whole
        if len({file.weights for file in files}) != 1:
            return False  # a launch must first find out which of them count
        stretches = [stretch for stretch in _stretches(files) if len(stretch) > 1]
        for stretch in stretches:
            self._merge(case_id, {file.positions: file for file in stretch})
        return bool(stretches)

    def _merge(self, case_id: str, parts: dict[Range, ShardFile]) -> None:
        whole = Range(min(r.start for r in parts), max(r.stop for r in parts))
        if whole not in parts:
            first = next(iter(parts.values()))
            each = first.rows
            rows = pa.concat_tables(
                [read_rows(self.files, parts[s.stored].path).slice(s.skip * each, s.take * each) for s in cover(parts)]
            )
            self.save_shard(case_id, whole, rows, first.weights, first.resolved)
        for positions, part in parts.items():
            if positions != whole:
                self.files.remove(part.path)

    def _look(self, path: str, positions: Range, case_id: str) -> ShardFile:
        """Open a shard file far enough to know that it is what its name says. Raises ForeignFileError."""
        try:
            with self.files.open(path) as stream:
                footer = pq.ParquetFile(stream)
                metadata, rows = footer.metadata.metadata or {}, footer.metadata.num_rows
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise ForeignFileError("torn, or no Parquet file") from error
        if metadata.get(_CASE_KEY) != case_id.encode():
            raise ForeignFileError("not written by attackgrid for this case")
        weights, resolved, each = (metadata.get(key, b"").decode() for key in (_WEIGHTS_KEY, _RESOLVED_KEY, _ROWS_KEY))
        due = (positions.stop - positions.start) * (int(each) if each.isdecimal() else 1)
        if rows != due:
            raise ForeignFileError(f"{rows} rows, where its name says {due}")
        return ShardFile(path, positions, weights, resolved, int(each or 1))

    # failures and runs ---------------------------------------------------------------------------------------------

    def record_failure(self, task_id: str, moment: str, record: Mapping[str, object]) -> None:
        """Keep one failed attempt at a task."""
        name = f"{moment.replace(':', '')}-{record['attempt']}"
        self.files.commit(f"failures/{task_id}/{name}.json", json.dumps(record, indent=1).encode(), replace=True)

    def failures(self) -> Iterator[dict[str, Any]]:
        """Every failure ever recorded, oldest first within a task."""
        yield from self._json(path for path in self.files.walk("failures"))

    def save_run(self, run_id: str, record: Mapping[str, object]) -> None:
        """Write or rewrite the record of a run."""
        self.files.commit(f"runs/{run_id}/run.json", json.dumps(record, indent=1).encode(), replace=True)

    def append_event(self, run_id: str, event: Mapping[str, object]) -> None:
        """Add one line to a run's events."""
        self.files.append(f"runs/{run_id}/events.jsonl", json.dumps(event) + "\n")

    def runs(self) -> Iterator[dict[str, Any]]:
        """Every run's record, oldest first."""
        yield from self._json(f"runs/{name}/run.json" for name in self.files.names("runs"))

    def cells(self) -> Iterator[dict[str, Any]]:
        """What is recorded of every trained cell."""
        yield from self._json(f"cells/{name}/cell.json" for name in self.files.names("cells") if "." not in name)

    def _json(self, paths: Iterable[str]) -> Iterator[dict[str, Any]]:
        for path in paths:
            try:
                yield json.loads(self.files.read(path))
            except FileNotFoundError:
                continue
            except ValueError as error:
                raise ForeignFileError(f"{self.files.absolute(path)}: not JSON: {error}. Remove it.") from error

    def _check_version(self) -> None:
        try:
            marker = json.loads(self.files.read("store.json"))
            version = int(marker["format"])
        except FileNotFoundError:
            if self.files.names(""):
                raise StoreError(
                    f"{self.location}: not a store: it has files, but no store.json. Name an empty or a new directory."
                ) from None
            return
        except (ValueError, KeyError, TypeError) as error:
            raise ForeignFileError(f"{self.location}/store.json: not the marker of a store: {error!r}") from error
        if version > FORMAT:
            raise StoreVersionError(
                f"{self.location}: written by attackgrid {marker.get('attackgrid')} in store format {version}; this is "
                f"{__version__}, which reads up to format {FORMAT}. Update attackgrid."
            )


@overload
def name_weights(*digests: str) -> str: ...
@overload
def name_weights(*digests: str | None) -> str | None: ...
def name_weights(*digests: str | None) -> str | None:
    """One text for the weights of a cell and, in a transfer, of its source; None if one is missing."""
    return "+".join(d for d in digests if d) if all(digests) else None


def _stretches(files: Iterable[ShardFile]) -> Iterator[list[ShardFile]]:
    """Groups of files whose positions touch or overlap, in order."""
    group: list[ShardFile] = []
    reached = -1
    for file in sorted(files, key=lambda f: f.positions):
        if group and file.positions.start > reached:
            yield group
            group = []
        group.append(file)
        reached = max(reached, file.positions.stop)
    if group:
        yield group
