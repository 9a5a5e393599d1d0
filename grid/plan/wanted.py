"""What a grid asks for, as the tables that a store keeps of it: filled in while the grid is walked.

What thousands of cases share (their cell, their attack) is written once and pointed at. Knows nothing of files.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from grid.plan.asked import Published
from grid.plan.expand import Wanted, WantedCell, split_size
from grid.plan.labels import cell_columns, source_label, under_columns
from tasks.cases import Case
from tasks.config import canonical
from tasks.needs import is_prepared
from tasks.schema import PUBLISHED, WANTED

_OF_CASE = ("case_id", "source_cell_id", "prepared_id", "variant", "samples_wanted")
_NO_CASE = Wanted(None, 0, "")  # type: ignore[arg-type] # the one row of a cell without any


class Tables:
    """The wanted and the published table of a grid, once its stream has gone through `watched`."""

    def __init__(self) -> None:
        self._cells: list[dict[str, Any]] = []
        self._unders: dict[tuple[str, str | None, str], int] = {}
        self._under_rows: list[dict[str, Any]] = []
        self._cell_of: list[int] = []
        self._under_of: list[int] = []
        self._rows: dict[str, list[Any]] = {name: [] for name in _OF_CASE}
        self._about: dict[int, list[Case]] = {}

    def watched(self, cells: Iterable[WantedCell]) -> Iterator[WantedCell]:
        """The same stream, each cell of it noted."""
        for cell in cells:
            self._note(cell)
            yield cell

    def wanted(self) -> pa.Table:
        """A table of WANTED."""
        columns = {
            **_repeated(self._cells, self._cell_of),
            **_repeated(self._under_rows, self._under_of),
            **{name: pa.array(values, WANTED.field(name).type) for name, values in self._rows.items()},
        }
        return pa.table({name: columns[name] for name in WANTED.names}) if self._cells else WANTED.empty_table()

    def published(self, values: Iterable[Published]) -> pa.Table:
        """A table of PUBLISHED: each of the spec's values with each case that it is about."""
        rows = [
            {"case_id": case.id, "cell_id": case.cell.id, "metric": value.metric, "value": value.value}
            | {"source": value.source, "note": value.note, "over": value.over}
            | {"n": value.n or split_size(case.cell.dataset)}
            for number, value in enumerate(values)
            for case in self._about.get(number, ())
        ]
        return pa.Table.from_pylist(rows, schema=PUBLISHED)

    def _note(self, wanted: WantedCell) -> None:
        cell = wanted.cell
        number = len(self._cells)
        self._cells.append(
            {**cell_columns(cell), "cell_id": cell.id, "cell_json": cell.part_of_id, "asked": wanted.asked}
        )
        for each in wanted.cases() if wanted.asks else (_NO_CASE,):
            self._cell_of.append(number)
            self._under_of.append(self._under(each.case))
            self._rows["variant"].append(each.variant)
            self._rows["samples_wanted"].append(each.samples)
            case = each.case
            self._rows["case_id"].append(case.id if case else None)
            self._rows["source_cell_id"].append(case.source.id if case and case.source else None)
            self._rows["prepared_id"].append(case.prepared_id if case and is_prepared(case) else None)
            for published in each.published:
                self._about.setdefault(published, []).append(case)

    def _under(self, case: Case | None) -> int:
        """The row of what a case is under, seen from a source; texts as the spec has them are no part of an id."""
        source = source_label(case.cell, case.source) if case and case.source else None
        under = case.under if case else None
        spelt = f"{under.eps_label}/{under.title}" if under and under.kind == "attack" else ""
        key = (under.part_of_id if under else "", source, spelt)
        if key not in self._unders:
            text = canonical(under.resolved()) if under else None
            self._unders[key] = len(self._under_rows)
            self._under_rows.append(
                {
                    **under_columns(under, source),
                    "attack_json": text if under and under.kind == "attack" else None,
                    "probe_json": text if under and under.kind == "probe" else None,
                }
            )
        return self._unders[key]


def _repeated(rows: list[dict[str, Any]], places: list[int]) -> dict[str, pa.Array]:
    """Columns with a value of `rows` at each place: texts as dictionaries, which hold each only once."""
    at = pa.array(places, pa.int32())
    found = {}
    for name in rows[0] if rows else ():
        kind = WANTED.field(name).type
        values = pa.array([row[name] for row in rows], kind)
        if pa.types.is_string(kind):
            at_values = pc.if_else(values.is_valid().take(at), at, pa.scalar(None, pa.int32()))
            found[name] = pa.DictionaryArray.from_arrays(at_values, values.fill_null(""))
        else:
            found[name] = values.take(at)
    return found
