"""The rules a spec writes: exclusions, and published values as a list of maps or as a CSV file beside the spec.

A CSV file has one column per axis, and metric, value, source, note, n, over; an empty cell is no constraint. Knows
nothing of which cases there are.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from grid.plan.asked import Published, Rule
from grid.plan.rule_index import AXES, PARAMETER_KINDS, SOURCE_AXES
from grid.questions import METRICS, is_rate
from grid.spec.components import mapping
from grid.spec.layers import OVERRIDE, read_text
from grid.spec.nodes import Node, Report, moved, plain, text_of
from grid.spec.strict_yaml import parse, read_scalar
from grid.values import accept, fractions
from tasks.config import Json
from tasks.parameters import Count
from tasks.words import unknown

PUBLISHED_KEYS = ("metric", "value", "source", "note", "n", "over")
"""What a published value has beside the axes that select its cases."""


OVER = Literal["seed"]
"""What a published value may be a mean over: several trainings."""
MAX_ROWS = 10_000
"""How many published values a CSV file may have."""


def read_rule(node: Node, key: str, report: Report) -> Rule:
    """The rule a map writes. An axis or value in error is reported and selects nothing."""
    children = mapping(node, key, report)
    if not children:
        report.add(node, key, f"names no axis. Known: {', '.join(AXES)}, and parameters such as attack.steps")
    return _rule(children, key, report)


def parse_where(texts: Iterable[str]) -> Rule:
    """The rule that texts such as `head=softmax,eps=8/255` write: axis=value, with axes and values as in a spec.

    An axis that is named again, or whose value is a list, has any of the values; commas in brackets are the value's
    own. No text selects everything. Raises SpecError with all that is wrong.
    """
    report = Report("--where")
    allowed: dict[str, tuple[Json, ...]] = {}
    for part in (part.strip() for text in texts for part in _split(text)):
        axis, equals, written = (word.strip() for word in part.partition("="))
        value = parse(written, part, Report(part)) if written else None
        if not axis or not equals or value is None:
            report.add(Node(None), part, f"must be axis=value, and several values a list: {axis or 'head'}=[a, b]")
        else:
            values = _allowed(axis, moved(value, 0, ""), part, report)
            allowed[axis] = (*allowed.get(axis, ()), *(values or ()))
    report.finish()
    return Rule(allowed)


def read_published(node: Node, key: str, report: Report) -> Published:
    """One published value: its rule, and what it says."""
    children = mapping(node, key, report)
    rule = _rule({k: v for k, v in children.items() if k not in PUBLISHED_KEYS}, key, report)
    metric = _metric(node, children, key, report)
    value = _value(node, children, metric, key, report)
    source, note = (text_of(children.get(name), f"{key}.{name}", report) for name in ("source", "note"))
    if not source:
        report.add(children.get("source", node), f"{key}.source", "must say where the value stands")
    n, over = (
        _optional(kind, children.get(name), f"{key}.{name}", report) for name, kind in (("n", Count), ("over", OVER))
    )
    return Published(rule, metric, value, source, note, n, over)


def inline_published(node: Node, main: Path, report: Report) -> Node:
    """The list of maps that `published` gives, read from a CSV file where it is a path."""
    if isinstance(node.value, list):
        return node
    if not isinstance(node.value, str):
        report.add(node, "published", "must be the path of a CSV file, or a list of maps")
        return Node([])
    folder = main.parent if node.origin.startswith(OVERRIDE) else Path(node.origin).parent
    path = folder / node.value
    text = read_text(path, node, "published", report)
    rows: list[Node] = []
    try:
        rows += _csv_rows(text or "", str(path), report)
    except csv.Error as error:
        report.add(Node(None, 0, str(path)), "published", f"is no CSV: {error}")
    return Node(rows, node.line, node.origin)


def _rule(children: dict[str, Node], key: str, report: Report) -> Rule:
    known = {axis: _allowed(axis, node, f"{key}.{axis}", report) for axis, node in children.items()}
    return Rule({axis: values for axis, values in known.items() if values is not None})


def _allowed(axis: str, node: Node, key: str, report: Report) -> tuple[Json, ...] | None:
    """The values that a rule allows on an axis; None where there is no such axis, which is reported."""
    if axis in AXES:
        return _axis_values(axis, node, key, report)
    if axis in SOURCE_AXES or (axis.partition(".")[0] in PARAMETER_KINDS and "." in axis):
        value = fractions(plain(node))
        if _has_map(value):
            report.add(node, key, "must be a value or a list of values, not a map")
            return None
        return (*value, value) if isinstance(value, list) else (value,)
    report.add(node, key, unknown("axis", axis, [*AXES, *SOURCE_AXES, *(f"{k}.…" for k in PARAMETER_KINDS)]))
    return None


def _has_map(value: Json) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_has_map, value)))


def _split(text: str) -> list[str]:
    """The parts between the commas that stand in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _axis_values(axis: str, node: Node, key: str, report: Report) -> tuple[Json, ...]:
    found = []
    for item in node.value if isinstance(node.value, list) else [node]:
        try:
            found.append(accept(AXES[axis], plain(item)))
        except ValueError as error:
            report.add(item, key, str(error))
    return tuple(found)


def _metric(node: Node, children: dict[str, Node], key: str, report: Report) -> str:
    child = children.get("metric", node)
    name = child.value if isinstance(child.value, str) else ""
    if name not in METRICS:
        report.add(child, f"{key}.metric", unknown("metric", name, METRICS))
    return name


def _value(node: Node, children: dict[str, Node], metric: str, key: str, report: Report) -> float:
    child = children.get("value")
    try:
        value = accept(float, plain(child) if child else None)
    except ValueError as error:
        report.add(child or node, f"{key}.value", str(error))
        return 0.0
    assert isinstance(value, float)  # noqa: S101 - what accept promises for float
    if is_rate(metric) and not 0 <= value <= 1:
        report.add(child or node, f"{key}.value", f"a rate is a share, 0 to 1, not {value:g}")
    elif value < 0:
        report.add(child or node, f"{key}.value", f"a mean of {metric} is never negative, as {value:g} is")
    return value


def _optional(kind: Any, node: Node | None, key: str, report: Report) -> Any:  # noqa: ANN401 - a typing object, and its value
    try:
        return accept(kind | None, plain(node) if node else None)
    except ValueError as error:
        report.add(node or Node(None), key, str(error))
        return None


def _csv_rows(text: str, origin: str, report: Report) -> Iterator[Node]:
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip() for name in next(reader, [])]
    _check_header(header, Node(None, 1, origin), report)
    for number, row in enumerate(reader):
        line = reader.line_num
        if number == MAX_ROWS:
            rows = number + 1 + sum(1 for _ in reader)
            report.add(Node(None, line, origin), "", f"has {rows} rows; at most {MAX_ROWS} are read")
            return
        if len(row) not in {0, len(header)}:
            report.add(Node(None, line, origin), "", f"has {len(row)} cells, the header {len(header)}")
        elif any(cell.strip() for cell in row):
            cells = {
                name: _cell(cell, line, origin, report)
                for name, cell in zip(header, map(str.strip, row), strict=True)
                if cell
            }
            yield Node(cells, line, origin)


def _check_header(header: list[str], top: Node, report: Report) -> None:
    for name in header:
        if name not in {*AXES, *SOURCE_AXES, *PUBLISHED_KEYS} and name.partition(".")[0] not in PARAMETER_KINDS:
            report.add(top, f"column {name}", unknown("column", name, [*AXES, *PUBLISHED_KEYS]))
        if header.count(name) > 1:
            report.add(top, f"column {name}", "is there twice")


def _cell(text: str, line: int, origin: str, report: Report) -> Node:
    """A CSV cell is a YAML value: a scalar, or a list in brackets."""
    if text.startswith("["):
        found = parse(text, origin, Report(origin))
        if found is not None:
            return moved(found, line, origin)
        report.add(Node(None, line, origin), "", f"{text} is not a list")
    try:
        return Node(read_scalar(text), line, origin, text)
    except ValueError:
        return Node(text, line, origin, text)
