"""The probes a spec names: their parameters, and how the harness uses them. Knows nothing of blocks or cells."""

from typing import Any, Literal

from grid.blocks import WantedProbe
from grid.component_spec import alternatives, entry_of, variants
from grid.nodes import Node, Report
from tasks.config import Probe
from tasks.parameters import Count

PROBE_KEYS: dict[str, Any] = {"samples": Count, "epochs": Literal["last", "each"]}
"""The keys of a probe's map that are the harness's own, and their types. No parameter may have such a name."""


def probes(node: Node, key: str, report: Report) -> tuple[WantedProbe, ...]:
    """All variants of all probes; those in error are reported and left out."""
    found: list[WantedProbe] = []
    for item, place in alternatives(node, key):
        entry = entry_of("probe", item, place, report)
        if entry is None:
            continue
        if taken := sorted(PROBE_KEYS.keys() & entry.found.parameters.keys()):
            report.add(item, place, f"probe {entry.found.name!r} cannot be used: it declares parameters {taken}")
            continue
        for component, chosen in variants(entry, PROBE_KEYS, (), report):
            values: dict[str, Any] = {name: choice.value for name, choice in chosen.items()}
            probe = Probe(component, values.get("epochs", "last"))
            found.append(WantedProbe(probe, values.get("samples")))
    return tuple(found)
