"""A table as people read it: headings, cells as text, what is said above and below it. Knows no format.

Every value is its own column unless the table has a title. One with a title is a report, in which columns are put
together by their names:

    x, x_low, x_high          93.1 [91.2, 94.6]
    x_stored, x_wanted        320/500, and `complete` is left out
    x_n, beside an x          is headed `n`
    accuracy, *_accuracy, *_rate, and what stands beside a `metric` of such a name      per cent

Columns of RECEDING that say the same in every row are named once, above it, and a procedure or a column of
OPTIONAL or RECEDING that no row has is left out. Knows nothing of where a table comes from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import pyarrow as pa

from grid.questions import is_rate
from grid.results.axes import AXES_OF_SOURCE
from tasks.config import CELL_AXES

RECEDING = (
    *(f"source_{axis}" for axis in AXES_OF_SOURCE),
    *(axis for axis in CELL_AXES if axis != "head"),
    *("transfer_from", "variant", "cell", "norm", "space", "box", "complete"),
)
"""Columns that a report names once if they are the same in every row in which they have a value."""

OPTIONAL = (
    *("note", "fit_fooling_rate", "epoch", "layer"),
    *("validation_loss", "validation_objective", "validation_accuracy", "test_accuracy"),
)
"""Columns that a report leaves out if no row has a value in them."""

OF_METRIC = ("published", "as_published", "corrected", "measured")
"""Columns whose unit the row's `metric` says."""

ABSENT = "—"
"""The cell of a value that is not there."""

MEANINGS = {
    "robust_accuracy": "accuracy: share of all n samples that are classified right under the attack (none: clean)",
    "minimal_norm": "success rate: share of attacked samples; means and medians are over the successful ones",
    "fooling": "fooling rate: share of attacked samples whose prediction changed; confidence: of those; delta, rho, "
    "l2, steps and seconds: means over all attacked; pixels, values: medians of what changed in those fooled",
    "transfer": "fooling rate: share of attacked samples whose prediction changed; source: the cell the attack saw",
    "worst_case": "accuracy: share of samples that withstand every attack of the same budget",
    "measures": "mean, median, sd (of a sample), min and max over the n images that have a value; absent: have none",
    "measures_by_class": f"label {ABSENT}: all classes, the unweighted mean of their means; the median of all images",
    "correlation": "correlation (Pearson) of mean abs gradient and true class confidence over n images; p: two-sided, "
    f"Student's t; label {ABSENT}: all classes",
    "histogram": "share: of all images, or of those classified right; a bin holds its lower edge",
    "certified": "certified accuracy: share of all n images whose certified class is right, at no less than the radius "
    "(l2); abstention rate: share without a certificate",
    "history": "loss and train accuracy: of the batches as they were trained on",
    "published": "n: all samples (accuracies), attacked ones (rates, delta, rho, steps), successful ones (means)",
}
"""What the numbers of a report are, by its title."""


@dataclass(frozen=True)
class Column:
    """One column as it is read: a heading and cells; numbers stand on the right."""

    heading: str
    cells: Sequence[str]
    is_number: bool


@dataclass(frozen=True)
class Page:
    """A table as it is read. Any of the lines about it may be empty."""

    title: str
    caption: str
    columns: Sequence[Column]
    legend: str

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells, row by row."""
        return list(zip(*(column.cells for column in self.columns), strict=True))


def page_of(table: pa.Table, title: str, grid: str) -> Page:
    """The table as it is read; a title makes it a report."""
    if not title:
        columns = [_verbatim(table, name) for name in table.column_names]
        return Page("", "", columns, _legend(columns))
    names = [name for name in table.column_names if not _is_told_elsewhere(name, table)]
    constant = {name: _constant(table, name) for name in names if name in RECEDING}
    caption = [f"{_words(name)} {value}" for name, value in constant.items() if value]
    shown = [n for n in names if constant.get(n) is None and not _is_unused(n, table)]
    columns = [_column(table, name) for name in shown]
    columns = [replace(column, heading=_words(column.heading)) for column in columns]
    heading = " · ".join(filter(None, [_words(title), f"grid {grid}" if grid else ""]))
    legend = "; ".join(filter(None, [MEANINGS.get(title, ""), _legend(columns)]))
    return Page(heading, ", ".join(caption), columns, legend)


def _verbatim(table: pa.Table, name: str) -> Column:
    """The column as a user's own question named it."""
    kind = table.schema.field(name).type
    is_number = pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_integer(kind)
    return Column(name, [_plain_text(value) for value in table[name].to_pylist()], is_number)


def _is_told_elsewhere(name: str, table: pa.Table) -> bool:
    """Whether another column's cells say it."""
    names = table.column_names
    stem, _, ending = name.rpartition("_")
    if ending in ("low", "high"):
        return _has_interval(stem, table)
    if ending == "wanted":
        return f"{stem}_stored" in names
    return name == "complete" and {"samples_stored", "samples_wanted"} <= set(names)


def _has_interval(name: str, table: pa.Table) -> bool:
    return {name, f"{name}_low", f"{name}_high"} <= set(table.column_names)


def _constant(table: pa.Table, name: str) -> str | None:
    """What the column says in every row that has a value; "" if none has; None if rows differ."""
    values = {value for value in table[name].to_pylist() if value is not None}
    if len(values) > 1:
        return None
    return "".join(_plain_text(value) for value in values)


def _is_unused(name: str, table: pa.Table) -> bool:
    """Whether no row has what is optional, or a value or a count of this procedure: a count of 0 is a value to come."""
    stem = name.removesuffix("_n")
    beside = {name} if name in OPTIONAL else {stem, f"{stem}_n"}
    present = beside <= set(table.column_names)
    return present and all(value in (None, "") for each in beside for value in table[each].to_pylist())


def _column(table: pa.Table, name: str) -> Column:
    values = table[name].to_pylist()
    stem, _, ending = name.rpartition("_")
    if ending == "stored" and f"{stem}_wanted" in table.column_names:
        pairs = zip(values, table[f"{stem}_wanted"].to_pylist(), strict=True)
        return Column(stem, [f"{stored}/{wanted}" for stored, wanted in pairs], is_number=True)
    if ending == "n" and stem in table.column_names:
        return Column("n", [_plain_text(value) for value in values], is_number=True)
    if name == "metric":
        return Column(name, [_words(v or ABSENT) + (" %" if is_rate(v or "") else "") for v in values], is_number=False)
    kind = table.schema.field(name).type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _measured(table, name)
    is_number = pa.types.is_integer(kind)
    return Column(name, [_plain_text(value) for value in values], is_number)


def _measured(table: pa.Table, name: str) -> Column:
    """A column of real numbers, with its interval if it has one."""
    values = table[name].to_pylist()
    are_rates = _are_rates(table, name)
    decimals = _decimals([value for value, is_rate in zip(values, are_rates, strict=True) if is_rate])

    def written(value: float | Decimal | None, is_rate: bool) -> str:
        if value is None:
            return ABSENT
        return f"{100 * float(value):.{decimals}f}" if is_rate else _number(float(value))

    cells = list(map(written, values, are_rates))
    if _has_interval(name, table):
        low, high = (map(written, table[f"{name}_{end}"].to_pylist(), are_rates) for end in ("low", "high"))
        cells = [c if a == ABSENT else f"{c} [{a}, {b}]" for c, a, b in zip(cells, low, high, strict=True)]
    return Column(name + (" %" if is_rate(name) and all(are_rates) else ""), cells, is_number=True)


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


def _legend(columns: Sequence[Column]) -> str:
    cells = [cell for column in columns if column.is_number for cell in column.cells]
    lines = ["[low, high]: 95 % interval"] * any(cell.endswith("]") for cell in cells)
    lines += [f"{ABSENT}: no value yet, or none that applies"] * any(ABSENT in column.cells for column in columns)
    return "; ".join(lines)
