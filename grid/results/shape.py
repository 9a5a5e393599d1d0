"""How a table is laid out: its lines in order, the values of an axis as columns, and those columns that are asked for.

Knows nothing of SQL or of what the columns mean but by their names.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from grid.errors import UsageError
from grid.plan.asked import TableAsked
from grid.plan.labels import left_out
from grid.results.columns import SAID, beside, is_count, is_measured
from grid.results.parameters import swept_of
from tasks.config import CELL_LISTS
from tasks.words import unknown

OF_ATTACK = ("norm", "eps", "eps_label", "space", "box")
"""What belongs to an attack: a column of its own has an attack with each budget."""


_INTERVALS = ("low", "high", "over_low", "over_high", "over_n")
"""What of a number stands in columns of an axis's values where no other is asked for."""


def shaped(rows: pa.Table, asked: TableAsked) -> pa.Table:
    """The table as it is asked for. Raises UsageError for a column that it does not have."""
    known = names_of(rows.column_names)
    for name in (*asked.pivot, *asked.columns, *(name.removeprefix("-") for name in asked.sort)):
        if name not in known:
            raise UsageError(f"{asked.name}: {unknown('column', name, known)}")
    rows = _sorted(rows, asked.sort)
    chosen = {each for name in asked.columns for each in _belonging(name, rows.column_names)}
    chosen |= {"over"} if chosen else set()
    if asked.pivot:
        return _pivoted(rows, asked.pivot, chosen)
    if not chosen:
        return rows
    order = [each for name in (*asked.columns, "over", "complete") for each in _belonging(name, rows.column_names)]
    return rows.select(list(dict.fromkeys(order)))


def names_of(columns: Iterable[str]) -> list[str]:
    """What may be asked for of a table: its columns, and `samples` for how many are stored of how many are wanted."""
    columns = list(columns)
    return [*columns, *(c.removesuffix("_stored") for c in columns if c.endswith("_stored"))]


def _belonging(name: str, columns: Sequence[str]) -> list[str]:
    """A column and all that is read with it."""
    pair = [each for each in (f"{name}_stored", f"{name}_wanted") if name not in columns and each in columns]
    label = ["eps_label"] if name == "eps" and "eps_label" in columns else []
    return pair or [*beside(name, columns), *label]


def _sorted(rows: pa.Table, sort: Sequence[str]) -> pa.Table:
    """The lines ordered by columns, numbers by size; what is not there comes last."""
    order = list(range(len(rows)))
    for name in reversed(sort):  # a sort keeps the order of what it holds for equal
        column = next(c for c in _belonging(name.removeprefix("-"), rows.column_names) if c)
        values = rows[column].to_pylist()
        there = [row for row in order if values[row] is not None]
        there.sort(key=_key(values), reverse=name.startswith("-"))
        order = [*there, *(row for row in order if values[row] is None)]
    return rows.take(pa.array(order, pa.int64())) if sort else rows


def _key(values: Sequence[Any]) -> Callable[[int], Any]:
    return lambda row: str(values[row]) if isinstance(values[row], list) else values[row]


def _pivoted(rows: pa.Table, axes: Sequence[str], chosen: set[str]) -> pa.Table:
    """A line for all that has the same about it but the axes, and columns for each of their values."""
    fields = [field for field in rows.schema if field.name != "complete"]
    names = rows.column_names
    results = {n for f in fields if is_measured(f) for n in beside(f.name, names)}
    results |= {field.name for field in fields if is_count(field) or field.name in SAID}
    usual = {n for f in fields if is_measured(f) for n in (f.name, *(f"{f.name}_{end}" for end in _INTERVALS))}
    apart = [f.name for f in fields if f.name not in results and _goes_with(f, axes)]
    about = [f for f in fields if f.name not in results and f.name not in apart]
    columns = {name: rows[name].to_pylist() for name in names}
    columns["cell"] = _cells(rows, [field for field in fields if field.name in apart], columns)
    constant = [n for n in apart if n not in axes and len({repr(v) for v in columns[n] if v is not None}) < 2]
    labels = [_label([n for n in apart if n not in constant], axes, columns, row) for row in range(len(rows))]
    lines: dict[str, dict[str, Any]] = {}
    shown = [f for f in fields if f.name in results and f.name in (chosen or usual)]
    for row, label in enumerate(labels):
        key = {field.name: columns[field.name][row] for field in about}
        line = lines.setdefault(repr(key), {**key, "complete": True})
        line |= {n: columns[n][row] for n in constant if line.get(n) is None}
        cells = {f"{label}_{field.name}": columns[field.name][row] for field in shown}
        if cells.keys() & line.keys():
            raise UsageError(f"several lines have {label} for a column: pivot on what they differ in, too")
        line |= cells | {"complete": line["complete"] and columns.get("complete", [True] * len(rows))[row]}
    kept = [f for f in fields if f in about or f.name in constant]
    made = [pa.field(f"{label}_{f.name}", f.type) for label in dict.fromkeys(labels) for f in shown]
    schema = [*(f for f in kept if not chosen or f.name in chosen), *made, pa.field("complete", pa.bool_())]
    return pa.Table.from_pylist(list(lines.values()), schema=pa.schema(schema))


def _cells(rows: pa.Table, apart: Sequence[pa.Field], columns: Mapping[str, list[Any]]) -> list[str | None]:
    """The labels of the cells without what has columns of its own."""
    texts: list[str | None] = columns.get("cell", [None] * len(rows))
    for field in apart:
        swept = swept_of(field)
        axis = swept.axis if swept else field.name
        if axis.partition(".")[0] in CELL_LISTS:
            values = columns[field.name]
            texts = [text and left_out(text, axis, value) for text, value in zip(texts, values, strict=True)]
    return texts


def _goes_with(field: pa.Field, axes: Sequence[str]) -> bool:
    """Whether a column is one of the axes, or says more of what one of them is."""
    swept = swept_of(field)
    if swept:
        return field.name in axes or swept.axis.partition(".")[0] in axes
    of_axes = {f"{axis}_label" for axis in axes} | (set(OF_ATTACK) if "attack" in axes else set())
    return field.name in axes or field.name in of_axes


def _label(apart: Sequence[str], axes: Sequence[str], columns: dict[str, Any], row: int) -> str:
    """What the columns of a line are headed: texts as they are, other values with their names."""
    said = []
    for name in apart:
        value = columns[name][row]
        spelt = columns.get(f"{name}_label", [None] * (row + 1))[row] or value
        if value is None:
            said += [f"no {name}"] * (name in axes)
        elif name.endswith("_label") and name.removesuffix("_label") in columns:
            continue
        else:
            said.append(value if isinstance(value, str) else f"{name}={_plain(spelt)}")
    return " ".join(said)


def _plain(value: object) -> str:
    return (
        ("yes" if value else "no")
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
