"""Lines that differ only on some axes as one line: the mean over them, its spread, and two intervals.

Of each measured number x, over the lines of a group that have it:

    x                        the mean; `x_low`, `x_high`: the means of the lines' own bounds
    x_over_low, x_over_high  the 95 % t interval of the mean over the lines; null for one line alone
    x_sd, x_lowest, x_highest, x_over_n

The first interval is about other samples, the second about other seeds, or whatever the axis is. Lines share their test
images, so more of them are no more samples: as the standard error of a mean is never more than the mean of the standard
errors, the means of the bounds are at least as wide as they must be. Knows nothing of SQL or of a store.
"""

import itertools
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from grid.errors import UsageError
from grid.plan.labels import left_out
from grid.plan.rule_index import AXES, PARAMETER_KINDS
from grid.questions import is_rate
from grid.results.columns import LABELS, SAID, SPREAD, beside, is_count, is_measured
from grid.results.parameters import swept_of, without
from grid.results.student import radius
from grid.results.where import Subject, values_of
from tasks.config import CELL_LISTS, canonical
from tasks.words import unknown

NEVER = {"histogram": "its bins are those of each cell", "correlation": "a p-value has none"}
"""Tables of whose lines no mean is taken, and why."""

Columns = Mapping[str, Sequence[Any]]


def mean_over(rows: pa.Table, subjects: Sequence[Subject], axes: Sequence[str], title: str) -> pa.Table:
    """The table with one line for each group of lines that differ only on the axes.

    `axes`: as rules name them, or columns of the table; `subjects`: what each row is about. Counts are sums. A line is
    complete where all of its group are; `over_stored` of the `over_wanted` lines have a number. Raises UsageError where
    no line has such an axis, or the table has no mean.
    """
    if title in NEVER:
        raise UsageError(f"{title} cannot be averaged over {' and '.join(axes)}: {NEVER[title]}")
    axes = [_axis(axis, rows, subjects, title) for axis in axes]
    columns = {name: rows[name].to_pylist() for name in rows.column_names}
    kept = [field for field in rows.schema if not any(_says_only(field, axis) for axis in axes)]
    results = {name for field in kept if is_measured(field) for name in beside(field.name, rows.column_names)}
    told = {*results, *LABELS, *SAID, "complete", *(field.name for field in kept if is_count(field))}
    about = [field.name for field in kept if field.name not in told]
    groups: dict[str, list[int]] = {}
    for row, subject in enumerate(subjects):
        named = [] if subject.under else [columns[name][row] for name in ("attack", "probe") if name in columns]
        identity = [_identity(subject, axes), [columns[name][row] for name in about], named]
        groups.setdefault(json.dumps(identity, sort_keys=True, default=str), []).append(row)
    lines = []
    for group in groups.values():
        if len({json.dumps(_place(subjects[row], axes, columns, row), default=str) for row in group}) < len(group):
            raise UsageError(f"{title} has several lines of the same {' and '.join(axes)}: select one with --where")
        lines.append(_line(group, kept, columns, subjects, axes))
    return pa.Table.from_pylist(lines, schema=_schema(kept))


def _axis(axis: str, rows: pa.Table, subjects: Sequence[Subject], title: str) -> str:
    """The axis as rules name it; one of no line is refused, where there are lines."""
    swept = {field.name: about.axis for field in rows.schema if (about := swept_of(field))}
    axis = swept.get(axis, axis)
    kind, dot, _ = axis.partition(".")
    is_known = kind in PARAMETER_KINDS if dot else axis in CELL_LISTS
    if not subjects or (is_known and any(values_of(subject, axis) for subject in subjects)) or is_about(axis, rows):
        return axis
    names = [name for name in rows.column_names if name in CELL_LISTS or name in swept or is_about(name, rows)]
    raise UsageError(f"{title} has no such lines: {unknown('axis', axis, names)}")


def is_about(name: str, rows: pa.Table) -> bool:
    """Whether it is a column that says by itself what a line is about, and no axis of a cell."""
    if (
        name not in rows.column_names
        or name in CELL_LISTS
        or name in {*LABELS, *SAID, "complete"} - {"attack", "probe"}
    ):
        return False
    field = rows.schema.field(name)
    stems = [other.name for other in rows.schema if is_measured(other)]
    return not is_count(field) and not any(name in beside(stem, rows.column_names) for stem in stems)


def _says_only(field: pa.Field, axis: str) -> bool:
    """Whether a column says nothing but what a line has on an axis."""
    about = swept_of(field)
    if about:
        return about.axis == axis or about.axis.startswith(f"{axis}.")
    return field.name in {axis, f"{axis}_label"}


def _place(subject: Subject, axes: Sequence[str], columns: Columns, row: int) -> list[object]:
    """What a line has on the axes."""
    return [columns[a][row] if a in columns and a not in CELL_LISTS else list(values_of(subject, a)) for a in axes]


def _identity(subject: Subject, axes: Sequence[str]) -> str:
    """What a line is about but for the axes. A source that shares what its cell has there shares it in every line."""
    seen = {} if subject.seen == subject.cell else dict(subject.seen)
    cell, under = dict(subject.cell), dict(subject.under)
    for axis in axes:
        kind, _, parameter = axis.partition(".")
        if kind in CELL_LISTS:
            if seen and seen.get(kind) == cell.get(kind):
                _leave_out(seen, kind, parameter)
            _leave_out(cell, kind, parameter)
        elif kind in {"attack", "probe"}:
            under = dict(without(under, parameter)) if parameter else {"budget": under.get("budget")}
        elif kind == "variant" or kind not in AXES:
            continue
        else:
            under = {**under, kind: None, "budget": {**under.get("budget", {}), kind: None}}
    return canonical([cell, under, seen])


def _leave_out(cell: dict[str, Any], kind: str, parameter: str) -> None:
    """A setting that is the one from before there were any is not in the cell: nor is one that is left out."""
    resolved = cell.pop(kind, None)
    if parameter and resolved:
        cell[kind] = without(resolved, parameter)


def _line(
    group: Sequence[int], kept: Iterable[pa.Field], columns: Columns, subjects: Sequence[Subject], axes: Sequence[str]
) -> dict[str, Any]:
    line: dict[str, Any] = {}
    num_stored: set[int] = set()
    for field in kept:
        values = [columns[field.name][row] for row in group]
        if is_measured(field):
            line |= _spread(field.name, [{n: columns[n][row] for n in beside(field.name, [*columns])} for row in group])
            num_stored |= {row for row, value in zip(group, values, strict=True) if value is not None}
        elif is_count(field):
            line[field.name] = sum(value for value in values if value is not None)
        elif field.name == "complete":
            line[field.name] = all(values)
        elif field.name in {"cell", "attack", "probe", "source"}:
            texts = [value and _left_out(value, subjects[row], axes) for row, value in zip(group, values, strict=True)]
            line[field.name] = _said(texts)
        elif field.name not in line:
            line[field.name] = _said(values)
    return line | {"over": ", ".join(axes), "over_stored": len(num_stored), "over_wanted": len(group)}


def _left_out(label: str, subject: Subject, axes: Iterable[str]) -> str:
    label, itself, _ = label.partition(" (itself)")
    for axis in axes:
        for value in values_of(subject, axis) if axis.partition(".")[0] in PARAMETER_KINDS or axis == "seed" else ():
            label = left_out(label, axis, value)  # type: ignore[arg-type] # values of JSON
    return label + itself


def _said(values: Iterable[Any]) -> Any:  # noqa: ANN401 - a value of a column
    """What the lines of a group say: one thing, or each of several texts, or else nothing."""
    known = [value for value, _ in itertools.groupby(sorted((v for v in values if v is not None), key=str))]
    if len(known) > 1:
        return "; ".join(known) if all(isinstance(value, str) for value in known) else None
    return known[0] if known else None


def _spread(name: str, lines: Sequence[Mapping[str, float | None]]) -> dict[str, float | int | None]:
    known = [line for line in lines if line[name] is not None]
    values = [float(line[name] or 0) for line in known]
    are_finite = all(map(math.isfinite, values))
    mean = math.fsum(values) / len(values) if values and are_finite else max(values, default=None)
    deviation = statistics.stdev(values) if len(values) > 1 and are_finite else None
    half = radius(deviation, len(values)) if deviation is not None else None
    low, high = (None, None) if mean is None or half is None else (mean - half, mean + half)
    if is_rate(name) and low is not None and high is not None:
        low, high = max(0.0, low), min(1.0, high)
    spread = (low, high, deviation, min(values, default=None), max(values, default=None), len(values))
    return {
        name: mean,
        **{f"{name}_{end}": _mean(line.get(f"{name}_{end}") for line in known) for end in ("low", "high")},
        **{f"{name}_{end}": value for end, value in zip(SPREAD, spread, strict=True)},
    }


def _mean(bounds: Iterable[float | None]) -> float | None:
    values = list(bounds)
    known = [float(value) for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _schema(kept: Sequence[pa.Field]) -> pa.Schema:
    """The columns of the lines, in the order of the table's own."""
    names = [field.name for field in kept]
    fields: dict[str, pa.Field] = {}
    for field in kept:
        if is_measured(field):
            ends = ("low", "high", *SPREAD)
            kinds = [pa.int64() if end == "over_n" else pa.float64() for end in ends]
            fields[field.name] = pa.field(field.name, pa.float64())
            fields |= {
                f"{field.name}_{end}": pa.field(f"{field.name}_{end}", k) for end, k in zip(ends, kinds, strict=True)
            }
        elif is_count(field):
            fields[field.name] = pa.field(field.name, pa.int64())
        elif field.name != "complete":
            fields.setdefault(field.name, field)
    more = {"over": pa.string(), "over_stored": pa.int64(), "over_wanted": pa.int64()}
    fields |= {name: pa.field(name, kind) for name, kind in more.items()}
    return pa.schema([*fields.values(), *(pa.field("complete", pa.bool_()) for _ in range("complete" in names))])
