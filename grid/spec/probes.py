"""The probes a spec names: their parameters, and how the harness uses them. Knows nothing of blocks or cells."""

from collections.abc import Iterator
from typing import Any, Literal

from grid.plan.asked import Asked
from grid.spec.attacks import sources_of
from grid.spec.components import Entry, alternatives, entry_of, variants
from grid.spec.nodes import Node, Report
from tasks.config import Probe
from tasks.parameters import Count

PROBE_KEYS: dict[str, Any] = {"samples": Count, "epochs": Literal["last", "each"], "source": None}
"""The keys of a probe's map that are the harness's own, and their types. No parameter may have such a name.

`source` is a map of its own, as that of an attack.
"""


def probes(node: Node, key: str, report: Report) -> tuple[Asked, ...]:
    """All variants of all probes; those in error are reported and left out."""
    found: list[Asked] = []
    for item, place in alternatives(node, key):
        entry = entry_of("probe", item, place, report)
        if entry is None:
            continue
        if taken := sorted(PROBE_KEYS.keys() & entry.found.parameters.keys()):
            report.add(item, place, f"probe {entry.found.name!r} cannot be used: it declares parameters {taken}")
            continue
        found += _wanted(entry, report)
    return tuple(found)


def _wanted(entry: Entry, report: Report) -> Iterator[Asked]:
    types = {key: kind for key, kind in PROBE_KEYS.items() if key != "source"}
    written = dict(entry.written)
    source = written.pop("source", None)
    if source and not entry.found.facts.get("sourced"):
        report.add(source, f"{entry.key}.source", "this probe perturbs no images: it has no source")
        return
    sources = sources_of(source, f"{entry.key}.source", report)
    for component, chosen in variants(entry._replace(written=written), types, (), report):
        values: dict[str, Any] = {name: choice.value for name, choice in chosen.items()}
        probe = Probe(component, values.get("epochs", "last"))
        if source and probe.epochs == "each":
            report.add(source, f"{entry.key}.source", "another cell has no epochs of this one's training")
            return
        for each in sources:
            yield Asked(probe, values.get("samples"), each)
