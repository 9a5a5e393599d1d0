"""Tables as text: `text`, `markdown` and `latex` for reading, `csv` and `json` for machines.

For machines every value is exact and every column its own. How a table reads is the page's affair.
"""

import csv
import io
import json
import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import zip_longest

import pyarrow as pa

from grid.errors import UsageError
from grid.questions import FORMATS
from grid.results.columns import ABSENT
from grid.results.fit import fitted, width_of
from grid.results.page import Column, Page, page_of


def render(table: pa.Table, form: str, title: str = "", grid: str = "", width: int | None = None) -> str:
    """The table in one of FORMATS, without a newline at its end.

    A title makes it a report in the formats for reading: the title and the grid's name stand above the table, and what
    its signs mean below. Text fits into a width, if one is given. Raises UsageError if the format is unknown.
    """
    match form:
        case "csv":
            return _csv(table)
        case "json":
            return _json(table)
        case "text":
            page = page_of(table, title, grid)
            return _text(fitted(page, width) if width else page)
        case "markdown" | "latex":
            return (_markdown if form == "markdown" else _latex)(page_of(table, title, grid))
    raise UsageError(f"unknown format {form!r}. Known: {', '.join(FORMATS)}")


def _text(page: Page) -> str:
    above = [line for line in (page.title, page.caption) if line]
    tables = [_aligned(columns) for columns in (page.columns, *page.more)]
    tables[-1] += ["(no rows)"] * (not page.rows)
    below = [page.legend] * bool(page.legend)
    return "\n\n".join("\n".join(part) for part in (above, *tables, below) if part)


def _aligned(columns: Sequence[Column]) -> list[str]:
    """The lines of a table: headings, a rule, and the rows."""
    widths = [width_of(column) for column in columns]
    cells = list(zip(*(column.cells for column in columns), strict=True))
    rows = [[c.heading for c in columns], ["-" * width for width in widths], *cells]
    lines = [line for row in rows for line in zip_longest(*(cell.split("\n") for cell in row), fillvalue="")]
    put = [str.rjust if column.is_number else str.ljust for column in columns]
    return ["  ".join(p(c, w) for p, c, w in zip(put, line, widths, strict=True)).rstrip() for line in lines]


def _markdown(page: Page) -> str:
    lines = [f"**{_piped(page.title)}**"] * bool(page.title) + [_piped(page.caption)] * bool(page.caption)
    table = [
        [_piped(column.heading) for column in page.columns],
        ["---:" if column.is_number else "---" for column in page.columns],
        *([_piped(cell) for cell in row] for row in page.rows),
    ]
    body = "\n".join("| " + " | ".join(row) + " |" for row in table)
    return "\n\n".join([*lines, body, *[_piped(page.legend)] * bool(page.legend)])


def _piped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")


def _latex(page: Page) -> str:
    rows = [[_escaped(cell) for cell in row] for row in ([c.heading for c in page.columns], *page.rows)]
    # A row that starts with [ or * would be read as an argument of the line break before it.
    heading, *body = ["    " + "{}" * row[0].startswith(("[", "*")) + " & ".join(row) + r" \\" for row in rows]
    about = ". ".join(_escaped(line) for line in (page.title, page.caption, page.legend) if line)
    return "\n".join(
        [
            *([r"\begin{table}", r"  \centering", rf"  \caption{{{about}.}}"] if about else []),
            rf"  \begin{{tabular}}{{{''.join('r' if c.is_number else 'l' for c in page.columns)}}}",
            *(r"    \toprule", heading, r"    \midrule", *body, r"    \bottomrule", r"  \end{tabular}"),
            *([r"\end{table}"] if about else []),
        ]
    )


_LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "·": r"$\cdot$",
    "\n": " ",
    ABSENT: "---",
}


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _csv(table: pa.Table) -> str:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(table.column_names)
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        writer.writerow([_csv_cell(value) for value in row])
    return lines.getvalue().removesuffix("\n")


def _csv_cell(value: object) -> object:
    plain = _jsonable(value)
    return json.dumps(plain) if isinstance(plain, bool | list | dict) else value if isinstance(value, float) else plain


def _json(table: pa.Table) -> str:
    rows = [json.dumps(_jsonable(row), ensure_ascii=False, allow_nan=False) for row in table.to_pylist()]
    return "[" + ",".join(f"\n  {row}" for row in rows) + ("\n" if rows else "") + "]"


def _jsonable(value: object) -> object:
    """JSON has no NaN or infinity: they become null."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case list():
            return [_jsonable(each) for each in value]
        case dict():
            return {str(key): _jsonable(each) for key, each in value.items()}
    return str(value)
