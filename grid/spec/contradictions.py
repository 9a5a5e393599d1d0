"""What a spec asks for that cannot go together, found by asking the components that are part of this project.

Each is asked once for all that its answer depends on, not once for every case; what rules exclude is no problem.
Foreign components are not asked: their code runs in workers alone.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

from grid.plan.asked import Block, GridSpec
from grid.plan.rule_index import CELL_LISTS, BlockIndex, Box
from grid.spec.nodes import Node, Report
from tasks.cases import Attack
from tasks.config import CELL_PARTS, Component
from tasks.refusals import beyond_classes, depends_on, num_classes, reasons

Parts = Mapping[str, Sequence[Component]]


def report_contradictions(spec: GridSpec, root: Node, report: Report) -> None:
    """Report each contradiction where the component stands that refuses it."""
    for number, block in enumerate(spec.blocks):
        excluded = spec.selection.blocks[number].excluded if spec.selection else None
        found = _Contradictions(block, excluded)
        for kind, component, reason in found.of_parts(block.parts, None):
            report.add(*report.place_of(f"cells.{number}.{kind}", component.part_of_id, root), reason)
        for position, asked in enumerate(block.asked):
            key = "probes" if asked.under.kind == "probe" else "attacks"
            place = report.place_of(f"cells.{number}.{key}", asked.under.part_of_id, root)
            for reason in found.of_asked(position):
                report.add(*place, reason)


class _Contradictions:
    """Those of one block. `excluded` has a byte for each (cell, thing asked), 1 where a rule excludes it."""

    def __init__(self, block: Block, excluded: bytearray | None) -> None:
        self._block = block
        self._index = BlockIndex(block)
        self._excluded = excluded

    def of_parts(self, parts: Parts, position: int | None) -> Iterator[tuple[str, Component, str]]:
        """Of the parts of cells, the kind and the component that refuses, and why.

        `position`: of the one thing asked that the cells are about, if not about all.
        """
        for kind in CELL_PARTS:
            for place, component in enumerate(parts[kind]):
                needed = depends_on(component)
                if needed is None:
                    continue
                for at, cell in _combinations(parts, needed):
                    for reason in reasons(component, cell):
                        if self._is_wanted({**at, kind: place}, parts, position):
                            yield kind, component, _about(reason, cell, parts)

    def of_asked(self, position: int) -> Iterator[str]:
        """Why one of the things asked cannot be."""
        asked = self._block.asked[position]
        for member in asked.under.chain if isinstance(asked.under, Attack) else [asked.under]:
            needed = depends_on(member.component) or ()
            aims = isinstance(member, Attack) and isinstance(member.targets, tuple)
            for at, cell in _combinations(self._block.parts, {*needed, *(["dataset"] if aims else [])}):
                found = reasons(member.component, cell, member)
                if isinstance(member, Attack) and aims:
                    classes = num_classes(cell["dataset"])
                    found += filter(None, [beyond_classes(member, classes)] if classes else [])
                for reason in found:
                    if self._is_wanted(at, self._block.parts, position):
                        yield _about(reason, cell, self._block.parts)
        if asked.source:
            other = {kind: (part,) for kind, part in asked.source if isinstance(part, Component)}
            parts = {**self._block.parts, **other}
            for kind, component, reason in self.of_parts(parts, position):
                yield f"its source cannot be: {kind} {component.name}: {reason}"

    def _is_wanted(self, at: Mapping[str, int], parts: Parts, position: int | None) -> bool:
        """Whether a case that is not excluded has the parts that stand at these positions."""
        if self._excluded is None:
            return True
        own = {kind: place for kind, place in at.items() if parts[kind] is self._block.parts[kind]}
        lists = dict(zip(CELL_LISTS, self._block.axes, strict=True))
        chosen = tuple((own[name],) if name in own else range(len(values)) for name, values in lists.items())
        width = max(1, len(self._block.asked))
        asked = range(width) if position is None else (position,)
        cells = self._index.flat(Box(chosen, asked))
        return any(not self._excluded[cell * width + each] for cell in cells for each in asked)


def _combinations(
    parts: Parts, kinds: Sequence[str] | set[str]
) -> Iterator[tuple[dict[str, int], dict[str, Component]]]:
    """Every choice of one component of each kind: their positions, and themselves."""
    named = [kind for kind in CELL_PARTS if kind in kinds]
    for chosen in itertools.product(*(enumerate(parts[kind]) for kind in named)):
        places = dict(zip(named, chosen, strict=True))
        yield {kind: place for kind, (place, _) in places.items()}, {kind: part for kind, (_, part) in places.items()}


def _about(reason: str, cell: Mapping[str, Component], parts: Parts) -> str:
    """The reason, with what of several it is about."""
    named = [f"{kind} {component.name}" for kind, component in cell.items() if len(parts[kind]) > 1]
    return f"{reason} ({', '.join(named)})" if named else reason
