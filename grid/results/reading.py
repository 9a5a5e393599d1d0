"""A table for a person: a parameter in a column is not in the labels too, and an eps is spelt as in the spec.

Knows nothing of how it is laid out.
"""

from collections.abc import Iterator

import pyarrow as pa

from grid.plan.labels import left_out
from grid.results.parameters import Swept, swept_of
from tasks.config import CELL_AXES, CELL_PARTS


def for_reading(table: pa.Table) -> pa.Table:
    """The same lines, with those columns only that tell a reader something."""
    swept = dict(_swept(table))
    shown = {name: about for name, about in swept.items() if about.alone}
    table = table.drop_columns([name for name in swept if name not in shown])
    for label in ("cell", "attack", "probe", *CELL_PARTS):
        if label in table.column_names:
            table = _shortened(table, label, shown)
    if {"eps", "eps_label"} <= set(table.column_names):
        spelt = [label or eps for label, eps in zip(*(table[n].to_pylist() for n in ("eps_label", "eps")), strict=True)]
        texts = pa.array([None if each is None else str(each) for each in spelt], pa.string())
        table = table.set_column(table.column_names.index("eps"), "eps", texts).drop_columns(["eps_label"])
    return table.drop_columns(["cell"] * _is_told_by_others("cell", [*shown], table))


def _swept(table: pa.Table) -> Iterator[tuple[str, Swept]]:
    for field in table.schema:
        about = swept_of(field)
        if about:
            yield field.name, about


def _shortened(table: pa.Table, label: str, shown: dict[str, Swept]) -> pa.Table:
    """A column of labels without the parameters that have columns."""
    texts = table[label].to_pylist()
    for name, about in shown.items():
        kind = about.axis.partition(".")[0]
        if kind == label or (label == "cell" and kind in CELL_PARTS):
            values = table[name].to_pylist()
            texts = [
                text if text is None or value is None else _without(text, about.axis, value)
                for text, value in zip(texts, values, strict=True)
            ]
    return table.set_column(table.column_names.index(label), label, pa.array(texts, pa.string()))


def _without(text: str, axis: str, value: object) -> str:
    """A column of numbers may have made a whole number real."""
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return left_out(left_out(text, axis, value), axis, whole)  # type: ignore[arg-type] # JSON values


def _is_told_by_others(name: str, shown: list[str], table: pa.Table) -> bool:
    """Whether lines with the same axes and parameters never differ in a column."""
    if name not in table.column_names:
        return False
    others = [each for each in (*CELL_AXES, "variant", *shown) if each in table.column_names]
    told = {repr(row) for row in table.select(others).to_pylist()}
    return len(told) == len({repr(row) for row in table.select([*others, name]).to_pylist()})
