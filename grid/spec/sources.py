"""The source of an attack or a probe: what the cell that it looks at has in place of the parts of its own cell."""

import itertools
import math
from typing import Any, Literal

from grid.plan.asked import Source
from grid.spec.components import Entry, alternatives, components, mapping
from grid.spec.keys import SOURCE, SOURCE_KEYS
from grid.spec.nodes import Node, Report, plain
from grid.values import accept
from tasks.config import CELL_PARTS, SETTINGS, Component, Json
from tasks.parameters import CountOrZero
from tasks.words import unknown


def split_source(entry: Entry, report: Report) -> tuple[Entry, list[Source]]:
    """An entry without its source, and all that this comes to."""
    written = dict(entry.written)
    sources = sources_of(written.pop(SOURCE, None), f"{entry.key}.{SOURCE}", report)
    return entry._replace(written=written), sources


def sources_of(node: Node | None, key: str, report: Report) -> list[Source]:
    """Every combination of what a source may have in place of the cell's own parts."""
    if node is None:
        return [()]
    children = mapping(node, key, report)
    if not children:
        report.add(node, key, f"says nothing: name what the source has instead, of {', '.join(SOURCE_KEYS)}")
    axes: dict[str, tuple[Component | int | str, ...]] = {}
    for part, child in children.items():
        place = f"{key}.{part}"
        if part in CELL_PARTS:
            axes[part] = components(part, child, place, report)
        elif part in SETTINGS:
            axes[part] = settings(part, child, place, report)
        elif part == "seed":
            axes[part] = _seeds(child, place, report)
        else:
            report.add(child, place, unknown("part of a cell", part, SOURCE_KEYS))
    if not report.has_room(math.prod(map(len, axes.values())), node, key):
        return []
    return [tuple(zip(axes, chosen, strict=True)) for chosen in itertools.product(*axes.values())]


def settings(name: str, node: Node, key: str, report: Report) -> tuple[str, ...]:
    """What one of the settings of a cell is to be, each value once: one, or a list of several."""
    return tuple(dict.fromkeys(str(value) for value in _accepted(Literal[SETTINGS[name]], node, key, report)))


def _seeds(node: Node, key: str, report: Report) -> tuple[int, ...]:
    return tuple(seed for seed in _accepted(CountOrZero, node, key, report) if isinstance(seed, int))


def _accepted(kind: Any, node: Node, key: str, report: Report) -> list[Json]:  # noqa: ANN401 - a typing object
    """The values of a type that a place gives, one or a list of them."""
    found: list[Json] = []
    if node.value == []:
        report.add(node, key, "is an empty list")
    for item, place in alternatives(node, key):
        try:
            found.append(accept(kind, plain(item)))
        except ValueError as error:
            report.add(item, place, str(error))
    return found
