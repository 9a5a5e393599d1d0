"""The rows of cases as a store keeps them: files of positions, which of them count, and small ones made into one.

A file that is torn, or was made with other weights than its cell has now, is not a result: it is passed over, named,
and set aside by the next launch. Knows nothing of what the rows say.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa

from grid.errors import ForeignFileError
from grid.ranges import Range, cover
from grid.store import layout
from grid.store.files import Files
from grid.store.parquet import filled, lacking, packed, read_footer, read_rows
from tasks.schema import MEASURES, SAMPLES

_CASE_KEY, _WEIGHTS_KEY, _RESOLVED_KEY = b"attackgrid.case", b"attackgrid.weights", b"attackgrid.resolved"
_ROWS_KEY = b"attackgrid.rows"


@dataclass(frozen=True)
class ShardFile:
    """One file of results, the positions its name says it has, and what it says of its origin.

    `weights` names the weights it was made with (see `name_weights`), `resolved` is the JSON that the case's id stands
    for, and each position has `rows` rows: one for each target, or for each measure.
    """

    path: str
    positions: Range
    weights: str = ""
    resolved: str = ""
    rows: int = 1


@dataclass(frozen=True)
class Inventory:
    """The shard files of one case: those that are whole, and the paths of those that are not, with the reason."""

    whole: list[ShardFile] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)


class Shards:
    """The shards of a store, by the id of their case. Their paths are those that an Inventory has."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def save(self, case_id: str, positions: Range, rows: pa.Table, weights: str, resolved: str) -> bool:
        """Commit the rows of some positions, those of SAMPLES or of MEASURES; False if they were there first.

        `weights` names the weights they were made with, `resolved` is the JSON the case's id stands for. Columns that
        neither has are stored as well: what a newer version merged must not be lost.
        """
        each = str(len(rows) // (positions.stop - positions.start))
        seal = {_CASE_KEY: case_id, _WEIGHTS_KEY: weights, _RESOLVED_KEY: resolved, _ROWS_KEY: each}
        data = packed(filled(rows, _schema_of(rows.column_names)), seal)
        return self._files.commit(layout.shard(case_id, positions), data)

    def cases(self) -> set[str]:
        """Ids of the cases of which anything is stored."""
        return set(self._files.names(layout.SHARDS))

    def count(self, case_id: str) -> int:
        """How many files a case has, unopened."""
        return len(self._listed(case_id))

    def inventory(self, case_id: str, weights: str | None) -> Inventory:
        """The shard files of a case, each opened far enough to know that it is whole and made with these weights."""
        while True:
            with suppress(FileNotFoundError):  # merged into another since it was listed
                return self._inventory(case_id, weights)

    def usable(self, case_id: str, weights: str | None) -> list[Range]:
        """The positions of a case that are stored; files that are no results are set aside, so they can be redone."""
        files = self.inventory(case_id, weights)
        for path, _ in files.broken:
            self.set_aside(path)
        return [file.positions for file in files.whole]

    def set_aside(self, path: str) -> None:
        """Put away a file that is no result, so that its samples can be redone."""
        self._files.set_aside(path)

    def where(self, path: str) -> str:
        """The path as the file system itself names it, for messages."""
        return self._files.absolute(path)

    def local_path(self, path: str) -> str:
        """The file as a local one."""
        return self._files.here(path)

    def merge(self, case_id: str) -> bool:
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
            schema = _schema_of(read_footer(self._files, first.path).columns)
            rows = [
                read_rows(self._files, parts[s.stored].path, schema).slice(s.skip * each, s.take * each)
                for s in cover(parts)
            ]
            joined = pa.concat_tables(rows, promote_options="default")  # null where only some have an unknown column
            self.save(case_id, whole, joined, first.weights, first.resolved)
        for positions, part in parts.items():
            if positions != whole:
                self._files.remove(part.path)

    def _listed(self, case_id: str) -> list[tuple[str, Range]]:
        """The paths of the files of a case, with the positions that their names say."""
        named = [(name, layout.positions_of(name)) for name in self._files.names(layout.shards(case_id))]
        return [(layout.shards(case_id, name), positions) for name, positions in named if positions]

    def _inventory(self, case_id: str, weights: str | None) -> Inventory:
        files = Inventory()
        for path, positions in self._listed(case_id):
            try:
                file = self._look(path, positions, case_id)
            except ForeignFileError as error:
                files.broken.append((path, str(error)))
                continue
            if weights in {None, file.weights}:
                files.whole.append(file)
            else:
                files.broken.append((path, "made with other weights than its cell has now"))
        return files

    def _look(self, path: str, positions: Range, case_id: str) -> ShardFile:
        """Open a shard file far enough to know that it is what its name says. Raises ForeignFileError."""
        try:
            seal, rows, columns = read_footer(self._files, path)
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise ForeignFileError("torn, or no Parquet file") from error
        if seal.get(_CASE_KEY) != case_id.encode():
            raise ForeignFileError("not written by attackgrid for this case")
        if wrong := lacking(columns, _schema_of(columns)):
            raise ForeignFileError(wrong)
        weights, resolved, each = (seal.get(key, b"").decode() for key in (_WEIGHTS_KEY, _RESOLVED_KEY, _ROWS_KEY))
        due = (positions.stop - positions.start) * (int(each) if each.isdecimal() else 1)
        if rows != due:
            raise ForeignFileError(f"{rows} rows, where its name says {due}")
        return ShardFile(path, positions, weights, resolved, int(each or 1))


def _schema_of(columns: Collection[str]) -> pa.Schema:
    """The schema of rows with these columns."""
    return MEASURES if "measure" in columns else SAMPLES


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
