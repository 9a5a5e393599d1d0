"""The probes a spec names: their parameters, and how the harness uses them. Knows nothing of blocks or cells."""

from collections.abc import Iterator
from typing import Any

from grid.plan.asked import Asked
from grid.spec.components import Entry, alternatives, entry_of, variants
from grid.spec.keys import PROBE_KEYS, SOURCE
from grid.spec.nodes import Node, Report
from grid.spec.sources import split_source
from tasks.cases import Probe


def probes(node: Node, key: str, report: Report) -> tuple[Asked, ...]:
    """All variants of all probes; those in error are reported and left out."""
    found: list[Asked] = []
    for item, place in alternatives(node, key):
        entry = entry_of("probe", item, place, report)
        if entry is None:
            continue
        if taken := sorted({*PROBE_KEYS, SOURCE} & entry.found.parameters.keys()):
            report.add(item, place, f"probe {entry.found.name!r} cannot be used: it declares parameters {taken}")
            continue
        for wanted in _wanted(entry, report):
            report.stands(key, wanted.text, item, place)
            found.append(wanted)
    return tuple(found)


def _wanted(entry: Entry, report: Report) -> Iterator[Asked]:
    source = entry.written.get(SOURCE)
    if source and not entry.found.facts.sourced:
        report.add(source, entry.place(SOURCE), "this probe perturbs no images: it has no source")
        return
    own, sources = split_source(entry, report)
    for component, chosen in variants(own, PROBE_KEYS, (), report):
        values: dict[str, Any] = {name: choice.value for name, choice in chosen.items()}
        probe = Probe(component, values.get("epochs", Probe.epochs))
        if source and probe.epochs == "each":
            report.add(source, entry.place(SOURCE), "another cell has no epochs of this one's training")
            return
        if not report.has_room(len(sources) - 1, entry.node, entry.key):
            return
        for each in sources:
            yield Asked(probe, values.get("samples"), each)
