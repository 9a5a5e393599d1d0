"""Which rows of a wanted table a rule selects, as `--where` writes it.

Judged by what the table stores of a cell, an attack or a probe, not by a spec. Knows nothing of files or of SQL.
"""

import functools
import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from grid.plan.asked import Rule
from grid.plan.rule_index import ABSENT, key_of, parameter_of
from tasks.config import CELL_LISTS, CELL_PARTS, SETTINGS
from tasks.words import unknown

COLUMNS = (
    "case_id",
    "cell_id",
    "source_cell_id",
    "variant",
    "attack",
    "probe",
    "cell_json",
    "attack_json",
    "probe_json",
)
"""The columns of a wanted table that say what a row is about."""

_ROWS_AT_ONCE = 5_000
"""Rows that are Python objects at the same time."""


class Subject(NamedTuple):
    """What a rule may select: a cell, and what is asked of it (`kind`: attack, probe, or empty).

    `name` is the attack's or the probe's as tables have it, `under` what it is in JSON, `seen` the cell it looks at.
    """

    cell: Mapping[str, Any]
    variant: str = ""
    kind: str = ""
    name: str = ""
    under: Mapping[str, Any] = {}
    seen: Mapping[str, Any] = {}


def selector(rule: Rule) -> Callable[[Subject], bool]:
    """Whether, on every axis that the rule names, a subject has one of its values."""
    allowed = {axis: frozenset(map(key_of, values)) for axis, values in rule.allowed.items()}
    return lambda subject: all(
        any(key_of(value) in keys for value in values_of(subject, axis)) for axis, keys in allowed.items()
    )


def subjects(table: pa.Table) -> Iterator[Subject]:
    """What the rows of a wanted table are about, row by row. It takes its COLUMNS."""
    sources = _cells(table.filter(pc.is_in(table["cell_id"], table["source_cell_id"].unique())))
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        for row in batch.to_pylist():
            kind = "attack" if row["attack_json"] else "probe" if row["probe_json"] else ""
            cell, source = _parsed(row["cell_json"]), row["source_cell_id"]
            if kind:
                seen = sources.get(source, {}) if source else cell
                yield Subject(cell, row["variant"], kind, row[kind], _parsed(row[f"{kind}_json"]), seen)
            else:
                yield Subject(cell, row["variant"])


def why_none(found: Iterable[Subject], rule: Rule) -> str:
    """Why a rule selects nothing: of each value that no subject has, what there is instead."""
    known: dict[str, set[Hashable]] = {axis: set() for axis in rule.allowed}
    spelt: dict[str, set[str]] = {axis: set() for axis in rule.allowed}
    for subject in found:
        for axis in rule.allowed:
            for value in values_of(subject, axis):
                known[axis].add(key_of(value))
                spelt[axis].add(_spelling(value))
    named = ((axis, value) for axis, values in rule.allowed.items() for value in values)
    missing = [(axis, value) for axis, value in named if key_of(value) not in known[axis]]
    reasons = [unknown(axis, _spelling(value), spelt[axis]) for axis, value in missing]
    return "; ".join(reasons) or "each value is there, but no case has all of them"


def _cells(table: pa.Table) -> dict[str, Mapping[str, Any]]:
    texts = zip(*(table[name].to_pylist() for name in ("cell_id", "cell_json")), strict=True)
    return {cell: _parsed(text) for cell, text in texts}


def values_of(subject: Subject, axis: str) -> tuple[object, ...]:
    """What the subject has on an axis: nothing where it lacks the axis, each label where those of blocks are joined."""
    kind, _, rest = axis.partition(".")
    if kind == "variant":
        return (subject.variant, *subject.variant.split(", "))
    if kind == "source":
        return _of_cell(subject.seen, rest, "")
    return _of_cell(subject.cell, kind, rest) if kind in CELL_LISTS else _of_under(subject, kind, rest)


def _of_under(subject: Subject, kind: str, parameter: str) -> tuple[object, ...]:
    if kind in {"attack", "probe"}:
        of_parameter = _of_component(kind, subject.under, parameter) if parameter else (subject.name,)
        return of_parameter if subject.kind == kind else ()
    if subject.kind != "attack":
        return ()
    return (subject.under["targets"] if kind == "targets" else subject.under["budget"][kind],)


def _of_cell(cell: Mapping[str, Any], part: str, parameter: str) -> tuple[object, ...]:
    if part in SETTINGS and cell:
        return (cell.get(part, SETTINGS[part][0]),)
    if part not in cell:
        return ()
    if parameter:
        return _of_component(part, cell[part], parameter)
    return (cell[part]["name"] if part in CELL_PARTS else cell[part],)


def _of_component(kind: str, resolved: Mapping[str, Any], parameter: str) -> tuple[object, ...]:
    value = parameter_of(kind, resolved, parameter) if resolved else ABSENT
    return () if value is ABSENT else (value,)


@functools.lru_cache(maxsize=10_000)
def _parsed(text: str) -> Mapping[str, Any]:
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def _spelling(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
