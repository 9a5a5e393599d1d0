"""A page within the width of a terminal: nothing is cut off, and what is left out is named. Knows no colours.

In this order, as far as needed: columns that say the same in each row are named once above; headings and texts are
wrapped, no more than they must be; columns that can be spared go; intervals stand below their numbers, if that is
enough, or else the columns for which there is no room stand below, by the number of their line.
"""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace

from grid.results.page import Column, Page

GAP = 2
"""Spaces between columns."""
NARROW = (40, 32, 26, 20, 16, 14)
"""To how many letters texts are wrapped, one after the other until they fit."""
IN_PARTS = 26
"""The same, where columns stand below."""
HOW = "--format csv, or -o FILE, has all"
"""How to see what was left out."""


def fitted(page: Page, width: int) -> Page:
    """The page, no line of its table wider than this if that can be."""
    for step in (_without_constants, _wrapped, _without_spare, _stacked, _in_parts):
        if _width(page.columns) > width:
            page = step(page, width)
    above = [textwrap.fill(line, width, break_on_hyphens=False) for line in (page.title, page.caption)]
    names = ", ".join(dict.fromkeys(page.left_out))
    below = [f"left out to fit: {names}; {HOW}"] * bool(names) + [page.legend]
    below = [textwrap.fill(line, width, break_on_hyphens=False) for line in below if line]
    return replace(page, title=above[0], caption=above[1], legend="\n".join(below))


def width_of(column: Column) -> int:
    """The letters of its widest line."""
    return max(len(line) for text in (column.heading, *column.cells) for line in text.split("\n"))


def _width(columns: Sequence[Column]) -> int:
    return sum(map(width_of, columns)) + GAP * (len(columns) - 1)


def _without_constants(page: Page, width: int) -> Page:
    """Texts and counts that are the same in each row stand above; measured numbers stay."""
    del width
    same = [c for c in page.columns if len(set(c.cells)) == 1 < len(c.cells) and (not c.is_number or c.is_spare)]
    if len(same) == len(page.columns):
        return page
    said = [f"{column.heading} {column.cells[0]}" for column in same]
    caption = ", ".join(filter(None, [page.caption, *said]))
    return replace(page, caption=caption, columns=[column for column in page.columns if column not in same])


def _wrapped(page: Page, width: int) -> Page:
    """Headings word by word, and texts no narrower than they must be; as it was where that is not enough."""
    for narrow in NARROW:
        columns = [_narrowed(column, narrow) for column in page.columns]
        if _width(columns) <= width:
            return replace(page, columns=columns)
    return page


def _narrowed(column: Column, narrow: int) -> Column:
    least = max(narrow, *(len(word) for text in (column.heading, *column.cells) for word in _words(text)))
    cells = column.cells if column.is_number else [_broken(cell, least) for cell in column.cells]
    widest = max((len(line) for cell in cells for line in cell.split("\n")), default=0)
    return replace(column, heading=_broken(column.heading, max(widest, *map(len, column.heading.split()))), cells=cells)


def _words(text: str) -> list[str]:
    """Where a text may be broken: behind a blank, and in a label behind a comma or an opening bracket."""
    return re.findall(r"[^\s,(]*(?:,|\(|\s+|$)", text)[:-1] or [text]


def _broken(text: str, width: int) -> str:
    lines = [""]
    for word in _words(text):
        if len(lines[-1] + word.rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)


def _without_spare(page: Page, width: int) -> Page:
    """Without the columns that can be spared, the last of them first."""
    for column in [column for column in reversed(page.columns) if column.is_spare]:
        if _width(page.columns) > width:
            page = _wrapped(_without(page, column), width)
    return page


def _stacked(page: Page, width: int) -> Page:
    """Intervals below their numbers; as it was where that is not enough."""
    columns = [
        replace(c, cells=[cell.replace(" [", "\n[") for cell in c.cells]) if c.is_number else c for c in page.columns
    ]
    stacked = _wrapped(replace(page, columns=columns), width)
    return stacked if _width(stacked.columns) <= width else page


def _in_parts(page: Page, width: int) -> Page:
    """As many columns as there is room for, then the others, each part with the number of its line before it."""
    numbers = Column("#", [str(number) for number in range(1, len(page.rows) + 1)], is_number=True)
    parts = [[numbers]]
    for column in page.columns:
        narrowed = _narrowed(column, IN_PARTS)
        if _width([*parts[-1], narrowed]) > width and len(parts[-1]) > 1:
            parts.append([numbers])
        parts[-1].append(narrowed)
    return replace(page, columns=parts[0], more=parts[1:])


def _without(page: Page, column: Column) -> Page:
    columns = [other for other in page.columns if other is not column]
    return replace(page, columns=columns, left_out=(column.heading.replace("\n", " "), *page.left_out))
