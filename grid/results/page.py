"""A table as people read it: headings, cells as text, what is said above and below it. Knows no format.

Every value is its own column unless the table has a title. One with a title is a report, in which columns are put
together by their names:

    x, x_low, x_high          93.1 [91.2, 94.6]
    x_stored, x_wanted        320/500, and `complete` is left out
    x_n, beside an x          is headed `n`
    x_over_low, x_over_high   [91.0, 94.9], headed `over seed`; x_lowest, x_highest   92.0 to 94.1, headed `range`
    accuracy, *_accuracy, *_rate, and what stands beside a `metric` of such a name      per cent

Columns of RECEDING that say the same in every row are named once, above it, and a procedure or a column of
OPTIONAL or RECEDING that no row has is left out, as is one of USUAL that says in every row what is meant anyway: these
names are those of `grid.results.columns`. Knows nothing of where a table comes from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import pyarrow as pa

from grid.questions import is_rate
from grid.results.columns import ABSENT, OF_METRIC, OPTIONAL, RECEDING, SPREAD, USUAL, is_count
from grid.results.meanings import HEADINGS, MEANINGS, axis_of, column_of_n, lines_of, meaning_of_mean
from grid.results.reading import for_reading


@dataclass(frozen=True)
class Column:
    """One column as it is read: a heading and cells; numbers stand on the right; `is_spare`: the first to go."""

    heading: str
    cells: Sequence[str]
    is_number: bool
    is_spare: bool = False


@dataclass(frozen=True)
class Page:
    """A table as it is read. Any of the lines about it may be empty.

    `left_out`: headings of columns that it lacks; `more`: columns that stand below for want of room.
    """

    title: str
    caption: str
    columns: Sequence[Column]
    legend: str
    left_out: Sequence[str] = ()
    more: Sequence[Sequence[Column]] = ()

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells, row by row."""
        return list(zip(*(column.cells for column in self.columns), strict=True))


def page_of(table: pa.Table, title: str, grid: str) -> Page:
    """The table as it is read; a title makes it a report."""
    if not title:
        columns = [_verbatim(table, name) for name in table.column_names]
        return Page("", "", columns, _legend(columns))
    table = for_reading(table)
    names = [name for name in table.column_names if not _is_told_elsewhere(name, table)]
    constant = {name: _constant(table, name) for name in names if name in RECEDING and _recedes(name, table)}
    caption = [f"{_words(name)} {value}" for name, value in constant.items() if value and value != USUAL.get(name)]
    caption += _constant_n(table)
    shown = [n for n in names if constant.get(n) is None and not _is_unused(n, table)]
    columns = [_column(table, name) for name in shown]
    named = HEADINGS.get(title, {})
    columns = [replace(column, heading=named.get(column.heading, _words(column.heading))) for column in columns]
    heading = " · ".join(filter(None, [_words(title), f"grid {grid}" if grid else ""]))
    legend = "; ".join(filter(None, [MEANINGS.get(title, ""), meaning_of_mean(table), _legend(columns)]))
    return Page(heading, ", ".join(caption), columns, legend)


def _verbatim(table: pa.Table, name: str) -> Column:
    """The column as a user's own question named it."""
    kind = table.schema.field(name).type
    is_number = pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_integer(kind)
    return Column(name, [_plain_text(value) for value in table[name].to_pylist()], is_number)


def _is_told_elsewhere(name: str, table: pa.Table) -> bool:
    """Whether another column's cells say it."""
    names = table.column_names
    stem, end = _stem(name, names)
    if end == "over_n":
        return bool(table[name].to_pylist() == table[column_of_n(names)].to_pylist())
    if end in SPREAD:
        return end in ("over_high", "highest")
    stem, _, ending = name.rpartition("_")
    if ending in ("low", "high"):
        return _has_interval(stem, table)
    if ending == "wanted":
        return f"{stem}_stored" in names
    return name == "complete" and {"samples_stored", "samples_wanted"} <= set(names)


def _stem(name: str, names: Sequence[str]) -> tuple[str, str]:
    """The number beside which a spread stands, and which of SPREAD it is; the column itself where it is none."""
    ends = [end for end in SPREAD if name.endswith(f"_{end}") and name.removesuffix(f"_{end}") in names]
    return (name.removesuffix(f"_{ends[0]}"), ends[0]) if ends else (name, "")


def _has_interval(name: str, table: pa.Table) -> bool:
    return {name, f"{name}_low", f"{name}_high"} <= set(table.column_names)


def _constant(table: pa.Table, name: str) -> str | None:
    """What the column says in every row that has a value; "" if none has; None if rows differ."""
    values = {value for value in table[name].to_pylist() if value is not None}
    if len(values) > 1:
        return None
    return "".join(_plain_text(value) for value in values)


def _recedes(name: str, table: pa.Table) -> bool:
    """Whether a column may be named above: what some lines are a mean over is not said of all of them."""
    return name != "over" or table[name].null_count in {0, len(table)}


def _is_unused(name: str, table: pa.Table) -> bool:
    """Whether no row has what is optional, or a value or a count of this procedure: a count of 0 is a value to come."""
    stem, end = _stem(name, table.column_names)
    if end or name in {"over_stored", "reason"}:
        return bool(table[stem if end else name].null_count == len(table))
    stem = name.removesuffix("_n")
    beside = {name} if name in OPTIONAL else {stem, f"{stem}_n"}
    present = beside <= set(table.column_names)
    return present and all(value in (None, "") for each in beside for value in table[each].to_pylist())


def _column(table: pa.Table, name: str) -> Column:
    values = table[name].to_pylist()
    if _stem(name, table.column_names)[1]:
        return _spread(table, name)
    stem, _, ending = name.rpartition("_")
    if ending == "stored" and f"{stem}_wanted" in table.column_names:
        pairs = zip(values, table[f"{stem}_wanted"].to_pylist(), strict=True)
        heading = lines_of(table) if stem == "over" else stem
        is_spare = stem != "over" and all(table["complete"].to_pylist() if "complete" in table.column_names else [0])
        return Column(
            heading,
            [ABSENT if stored is None else f"{stored}/{wanted}" for stored, wanted in pairs],
            is_number=True,
            is_spare=is_spare,
        )
    if ending == "n" and stem in table.column_names:
        return Column("n", [_plain_text(value) for value in values], is_number=True, is_spare=True)
    if name == "metric":
        return Column(name, [_words(v or ABSENT) + (" %" if is_rate(v or "") else "") for v in values], is_number=False)
    kind = table.schema.field(name).type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _measured(table, name)
    is_number = pa.types.is_integer(kind)
    return Column(name, [_plain_text(value) for value in values], is_number, is_count(table.schema.field(name)))


def _spread(table: pa.Table, name: str) -> Column:
    """What stands beside a mean over lines, in the unit of the mean."""
    stem, end = _stem(name, table.column_names)
    if end == "over_n":
        return Column(lines_of(table), [_plain_text(value) for value in table[name].to_pylist()], is_number=True)
    are_rates = _are_rates(table, stem)
    written = _writer([value for value, is_share in zip(table[stem].to_pylist(), are_rates, strict=True) if is_share])
    ends = {"over_low": ("over_low", "over_high"), "lowest": ("lowest", "highest")}.get(end, (end,))
    bounds = [list(map(written, table[f"{stem}_{each}"].to_pylist(), are_rates)) for each in ends]
    form = {"over_low": "[{}, {}]", "lowest": "{} to {}"}.get(end, "{}")
    cells = [ABSENT if ABSENT in row else form.format(*row) for row in zip(*bounds, strict=True)]
    heading = {"over_low": f"over {axis_of(table)}", "lowest": "range"}
    return Column(heading.get(end, end), cells, is_number=True, is_spare=end != "over_low")


def _measured(table: pa.Table, name: str) -> Column:
    """A column of real numbers, with its interval if it has one."""
    values = table[name].to_pylist()
    are_rates = _are_rates(table, name)
    written = _writer([value for value, is_share in zip(values, are_rates, strict=True) if is_share])
    cells = list(map(written, values, are_rates))
    if _has_interval(name, table):
        low, high = (map(written, table[f"{name}_{end}"].to_pylist(), are_rates) for end in ("low", "high"))
        cells = [c if a == ABSENT else f"{c} [{a}, {b}]" for c, a, b in zip(cells, low, high, strict=True)]
    return Column(name + (" %" if is_rate(name) and all(are_rates) else ""), cells, is_number=True)


def _writer(rates: Sequence[float | None]) -> Callable[[float | Decimal | None, bool], str]:
    """How numbers of a column are written, in which these are the shares."""
    decimals = _decimals(rates)

    def written(value: float | Decimal | None, is_share: bool) -> str:
        if value is None:
            return ABSENT
        return f"{100 * float(value):.{decimals}f}" if is_share else _number(float(value))

    return written


def _are_rates(table: pa.Table, name: str) -> list[bool]:
    """Row by row, whether the column's value is a share that reads as per cent."""
    if name in OF_METRIC and "metric" in table.column_names:
        return [is_rate(metric or "") for metric in table["metric"].to_pylist()]
    values = [value for value in table[name].to_pylist() if value is not None]
    return [is_rate(name) and all(0 <= value <= 1 for value in values)] * table.num_rows


def _decimals(rates: Sequence[float | None]) -> int:
    """One decimal of a per cent if that says each rate exactly, else two."""
    tenths = [1000 * float(rate) for rate in rates if rate is not None]
    return 1 if all(abs(value - round(value)) < 1e-3 for value in tenths) else 2


def _number(value: float) -> str:
    """Four significant digits, and all those before the point."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def _plain_text(value: object) -> str:
    """Lines without control characters: a message from a failed task may hold anything."""
    match value:
        case None:
            return ABSENT
        case bool():
            return "yes" if value else "no"
        case float() | Decimal():
            return _number(float(value))
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in str(value))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _constant_n(table: pa.Table) -> list[str]:
    """Over how many lines the means of a table are that has no column of it."""
    if "over" not in table.column_names or "over_stored" in table.column_names:
        return []
    value = _constant(table, column_of_n(table.column_names))
    return [f"{lines_of(table)} {value}"] if value else []


def _legend(columns: Sequence[Column]) -> str:
    cells = [cell for column in columns if column.is_number for cell in column.cells]
    lines = ["[low, high]: 95 % interval"] * any(cell.endswith("]") for cell in cells)
    lines += [f"{ABSENT}: no value yet, or none that applies"] * any(ABSENT in column.cells for column in columns)
    return "; ".join(lines)
