"""What cannot go together in a spec, reported where that stands which says so.

Only what is part of this project is asked: foreign code runs in workers.
"""

from grid.plan.asked import Asked, GridSpec
from grid.plan.contradictions import contradictions
from grid.spec.nodes import Node, Report


def report_contradictions(spec: GridSpec, root: Node, report: Report) -> None:
    """Report what cannot go together where that stands which says so; all that is said of one place in one problem."""
    found: dict[tuple[int, str, str], list[str]] = {}
    for block, about, reason in contradictions(spec):
        key, text = (f"{about.under.kind}s", about.text) if isinstance(about, Asked) else (about.kind, about.part_of_id)
        found.setdefault((block, key, text), []).append(reason)
    places: dict[str, tuple[Node, list[str]]] = {}
    for (block, key, text), reasons in found.items():
        node, place = report.place_of(f"cells.{block}.{key}", text, root)
        places.setdefault(place, (node, []))[1].extend(reasons)
    for place, (node, reasons) in places.items():
        report.add(node, place, "; ".join(dict.fromkeys(reasons)))
