"""The parameters in which the lines of a table differ, as columns of their own. Knows nothing of SQL or of a store.

A parameter has a column where one component stands with two values of it: numbers are numbers, null is what the line's
component does not have. The column has the parameter's name, or `activation.steps` where that is taken.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from grid.plan.rule_index import ABSENT, PARAMETER_KINDS, are_components, parameter_of
from grid.results.where import Subject
from tasks.config import CELL_AXES, CELL_PARTS, canonical

_AXIS, _ALONE = b"parameter", b"alone"

Resolved = Mapping[str, Any]


class Swept(NamedTuple):
    """What a column of a parameter is about: `axis` as rules name it; `alone`: some lines differ in nothing else of it.

    Only those that do leave the labels for columns where a person reads: of others, such as all that a published
    procedure sets, a label says it in less room.
    """

    axis: str
    alone: bool


def swept_of(field: pa.Field) -> Swept | None:
    """What a column that `with_parameters` made is about; None of any other."""
    metadata = field.metadata or {}
    return Swept(metadata[_AXIS].decode(), metadata[_ALONE] == b"yes") if _AXIS in metadata else None


def without_what_follows(subjects: Sequence[Subject]) -> Sequence[Subject]:
    """The subjects without what their trainings watch, where no two cells differ in that alone.

    It then follows from what else a cell is made of, as in a sweep from no penalty to a large one: ids have what is
    watched only where that decides something (see `tasks.needs.settled`). That is no parameter that was varied.
    """
    cells = {id(cell): cell for subject in subjects for cell in (subject.cell, subject.seen) if "training" in cell}
    if len({canonical(_watched(cell)) for cell in cells.values()}) < 2:
        return subjects
    lean = {key: {**cell, "training": without(cell["training"], "watch")} for key, cell in cells.items()}
    watched: dict[str, set[str]] = {}
    for key, cell in cells.items():
        watched.setdefault(canonical(lean[key]), set()).add(canonical(_watched(cell)))
    if any(len(each) > 1 for each in watched.values()):
        return subjects
    return [s._replace(cell=lean.get(id(s.cell), s.cell), seen=lean.get(id(s.seen), s.seen)) for s in subjects]


def _watched(cell: Resolved) -> Any:  # noqa: ANN401 - a JSON value
    return cell["training"].get("parameters", {}).get("watch")


def with_parameters(rows: pa.Table, subjects: Sequence[Subject], named: Collection[str] = ()) -> pa.Table:
    """The table with the columns, each beside its component's; `subjects`: what each row is about.

    Parameters that are `named`, as `steps` or `attack.steps`, have a column also where no line differs in them.
    """
    parts = [_parts(subject) for subject in subjects]
    names = [(kind, name, alone) for kind in PARAMETER_KINDS for name, alone in _columns(kind, parts, named)]
    taken = [*rows.column_names, *(name for _, name, _ in names)]
    for kind, name, alone in reversed(names):
        once = {id(resolved): _value(kind, resolved, name) for part in parts if (resolved := part.get(kind))}
        values = [once.get(id(part.get(kind))) for part in parts]
        shown = name if taken.count(name) == 1 else f"{kind}.{name}"
        about = {_AXIS: f"{kind}.{name}", _ALONE: "yes" if alone else "no"}
        column = _typed(values)
        rows = rows.add_column(_place(kind, rows), pa.field(shown, column.type, metadata=about), column)
    return rows


def in_order(rows: pa.Table) -> list[int]:
    """The places of the rows where lines of the same axes are ordered by the parameters of their cells, by size.

    As they are, where the rows are not ordered by the axes of their cells.
    """
    axes = [axis for axis in CELL_AXES if axis in rows.column_names]
    swept = [(field.name, about.axis.partition(".")[0]) for field in rows.schema if (about := swept_of(field))]
    own = {axis: [name for name, kind in swept if kind == axis] for axis in axes}
    columns = {name: rows[name].to_pylist() for name in (*axes, *(name for names in own.values() for name in names))}
    places = list(range(len(rows)))
    if any(columns[axis].count(None) for axis in axes) or not any(own.values()):
        return places
    known = [tuple(columns[axis][row] for axis in axes) for row in places]
    if known != sorted(known):
        return places

    def sizes(row: int) -> list[object]:
        own_values = ([(columns[name][row] is not None, columns[name][row]) for name in own[axis]] for axis in axes)
        return [(columns[axis][row], values) for axis, values in zip(axes, own_values, strict=True)]

    return sorted(places, key=sizes)


def without(resolved: Resolved, name: str) -> Resolved:
    """A component, resolved, without a parameter: its own, or else that of the first among its parameters."""
    given = resolved.get("parameters", {})
    if name in given:
        return {**resolved, "parameters": {other: value for other, value in given.items() if other != name}}
    for parameter, value in given.items():
        if are_components(value):
            parts = [without(part, name) for part in value]
            if parts != value:
                return {**resolved, "parameters": {**given, parameter: parts}}
    return resolved


def _parts(subject: Subject) -> dict[str, Resolved]:
    named = {kind: subject.cell[kind] for kind in CELL_PARTS if "parameters" in subject.cell.get(kind, {})}
    return named | ({subject.kind: subject.under} if "parameters" in subject.under else {})


def _columns(kind: str, parts: Iterable[Mapping[str, Resolved]], named: Collection[str]) -> Iterable[tuple[str, bool]]:
    """The parameters of a kind that have a column; whether lines differ in it alone, or it is asked for."""
    once = {id(part[kind]): part[kind] for part in parts if kind in part}  # rows share what they were read from
    distinct = {canonical(_asked(resolved)): resolved for resolved in once.values()}
    there = dict.fromkeys(name for resolved in distinct.values() for name in _names(resolved))
    return {**_varying(kind, distinct), **{n: True for n in there if n in named or f"{kind}.{n}" in named}}.items()


def _varying(kind: str, distinct: Mapping[str, Resolved]) -> dict[str, bool]:
    """The parameters of which a component of the kind has several values; whether it has them with all else alike."""
    by_name: dict[str, list[Resolved]] = {}
    for resolved in distinct.values():
        by_name.setdefault(resolved["name"], []).append(resolved)
    found: dict[str, bool] = {}
    for variants in by_name.values() if len(distinct) > len(by_name) else ():
        for name in dict.fromkeys(name for each in variants for name in _names(each)):
            if len({canonical(_value(kind, each, name)) for each in variants}) > 1:
                rest = {canonical(_asked(without(each, name))) for each in variants}
                found[name] = found.get(name, False) or len(rest) < len(variants)
    return found


def _asked(resolved: Resolved) -> Resolved:
    """Of an attack, what is not its budget, nor follows from whether the model draws."""
    return {key: value for key, value in resolved.items() if key not in {"budget", "eot", "draws"}}


def _names(resolved: Resolved) -> Iterable[str]:
    for name, value in resolved["parameters"].items():
        yield name
        for part in value if are_components(value) else ():
            yield from _names(part)


def _value(kind: str, resolved: Resolved | None, name: str) -> Any:  # noqa: ANN401 - a JSON value
    value = parameter_of(kind, resolved, name) if resolved else ABSENT
    return None if value is ABSENT else value


def _typed(values: Sequence[object]) -> pa.Array:
    """Values of one type as they are; of several, in JSON."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else json.dumps(value) for value in values], pa.string())


def _place(kind: str, rows: pa.Table) -> int:
    """Behind the column of the component, or else behind what names the cell."""
    beside = [name for name in (kind, "cell", "seed") if name in rows.column_names]
    return rows.column_names.index(beside[0]) + 1 if beside else 0
