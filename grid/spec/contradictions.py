"""What a spec asks for that cannot go together, found by asking the components that are part of this project.

Each is asked once for all that its answer depends on, not once for every case; what rules exclude is no problem.
Foreign components are not asked: their code runs in workers alone.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

from grid.plan.asked import Asked, Block, GridSpec
from grid.plan.rule_index import CELL_LISTS, BlockIndex, Box
from grid.spec.nodes import Node, Report
from tasks.cases import Attack, Probe
from tasks.config import CELL_PARTS, Component
from tasks.refusals import beyond_classes, depends_on, num_classes, reasons

Parts = Mapping[str, Sequence[Component]]
Places = tuple[tuple[str, int], ...]
"""Of each kind that a contradiction is about, the position of the component."""

_SHOWN = 5
"""How many reasons of one place are written out."""


def report_contradictions(spec: GridSpec, root: Node, report: Report) -> None:
    """Report all contradictions of a component where it stands, in one line."""
    found: dict[tuple[str, int, str], tuple[Node, str, list[str]]] = {}
    for where, part_of_id, reason in _of_spec(spec):
        node, key = report.place_of(where, part_of_id, root)
        *_, said = found.setdefault((node.origin, node.line, key), (node, key, []))
        if reason not in said:
            said.append(reason)
    for node, key, said in found.values():
        more = [f"and {len(said) - _SHOWN} more"] if len(said) > _SHOWN else []
        report.add(node, key, "; ".join(said[:_SHOWN] + more))


def _of_spec(spec: GridSpec) -> Iterator[tuple[str, str, str]]:
    """In which list of the spec something stands that cannot be, its part of an id, and why."""
    for number, block in enumerate(spec.blocks):
        found = _Contradictions(block, spec.selection.blocks[number].excluded if spec.selection else None)
        for kind, component, reason in found.of_parts():
            yield f"cells.{number}.{kind}", component.part_of_id, reason
        for position, asked in enumerate(block.asked):
            key = "probes" if asked.under.kind == "probe" else "attacks"
            for reason in found.of_asked(position):
                yield f"cells.{number}.{key}", asked.under.part_of_id, reason


class _Contradictions:
    """Those of one block. `excluded` has a byte for each (cell, thing asked), 1 where a rule excludes it."""

    def __init__(self, block: Block, excluded: bytearray | None) -> None:
        self._block = block
        self._index = BlockIndex(block)
        self._excluded = excluded

    def of_parts(self) -> Iterator[tuple[str, Component, str]]:
        """Of the parts of the block's cells, the kind and the component that refuses, and why."""
        parts = self._block.parts
        for kind in CELL_PARTS:
            for place, component in enumerate(parts[kind]):
                for reason in self._reasons(component, {**parts, kind: [component]}, (kind, place)):
                    yield kind, component, reason

    def of_asked(self, position: int) -> Iterator[str]:
        """Why one of the things asked cannot be: the members of a cascade, its aim, its source."""
        asked, parts = self._block.asked[position], self._block.parts
        seen = {**parts, **_named(asked)} if isinstance(asked.under, Attack) else parts
        for member in asked.under.chain if isinstance(asked.under, Attack) else (asked.under,):
            yield from self._reasons(member.component, seen, under=member, position=position)
        if isinstance(asked.under, Attack) and asked.under.targets is not None:
            for place, dataset in enumerate(parts["dataset"]):
                classes = num_classes(dataset)
                wrong = beyond_classes(asked.under, classes) if classes else ""
                if wrong and self._is_wanted({"dataset": place}, position):
                    yield _about(wrong, [(("dataset", place),)], parts)
        yield from self._of_source(position)

    def _of_source(self, position: int) -> Iterator[str]:
        """Why the cell that something asked looks at cannot be, where that comes from what it does not share."""
        other = _named(self._block.asked[position])
        parts = {**self._block.parts, **other}
        for kind in CELL_PARTS if other else ():
            for place, component in enumerate(parts[kind]):
                if not other.keys() & {kind, *(depends_on(component) or ())}:
                    continue
                own = None if kind in other else (kind, place)
                for reason in self._reasons(component, {**parts, kind: [component]}, own, position=position):
                    yield f"its source cannot be: {reason}"

    def _reasons(
        self,
        component: Component,
        parts: Parts,
        own: tuple[str, int] | None = None,
        *,
        under: Attack | Probe | None = None,
        position: int | None = None,
    ) -> Iterator[str]:
        """Each reason of a component, with the parts of cells that it is about, where a wanted case has them.

        `own`: its kind and its position, if it is a part of the block. `position`: of the one thing asked that the
        cells are about, if not about all.
        """
        needed = depends_on(component)
        if needed is None:
            return
        found: dict[str, list[Places]] = {}
        for at, cell in _combinations(parts, needed):
            for reason in reasons(component, cell, under):
                places = dict([*at, *([own] if own else [])])
                shared = {kind: place for kind, place in places.items() if self._is_own(kind, parts, own)}
                if self._is_wanted(shared, position):
                    found.setdefault(reason, []).append(at)
        for reason, places_met in found.items():
            yield _about(reason, places_met, parts)

    def _is_own(self, kind: str, parts: Parts, own: tuple[str, int] | None) -> bool:
        return parts[kind] is self._block.parts[kind] or (own is not None and kind == own[0])

    def _is_wanted(self, at: Mapping[str, int], position: int | None) -> bool:
        """Whether a case that is not excluded has the block's parts that stand at these positions."""
        if self._excluded is None:
            return True
        lists = dict(zip(CELL_LISTS, self._block.axes, strict=True))
        chosen = tuple((at[name],) if name in at else range(len(values)) for name, values in lists.items())
        width = max(1, len(self._block.asked))
        asked = range(width) if position is None else (position,)
        cells = self._index.flat(Box(chosen, asked))
        return any(not self._excluded[cell * width + each] for cell in cells for each in asked)


def _named(asked: Asked) -> dict[str, list[Component]]:
    """The parts of the cell that something asked looks at which are not those of the cell it is judged on."""
    return {kind: [part] for kind, part in asked.source if isinstance(part, Component)}


def _combinations(parts: Parts, kinds: Sequence[str]) -> Iterator[tuple[Places, dict[str, Component]]]:
    """Every choice of one component of each kind: their positions, and themselves."""
    for chosen in itertools.product(*(enumerate(parts[kind]) for kind in kinds)):
        pairs = list(zip(kinds, chosen, strict=True))
        yield tuple((kind, place) for kind, (place, _) in pairs), {kind: part for kind, (_, part) in pairs}


def _about(reason: str, met: Sequence[Places], parts: Parts) -> str:
    """The reason, with those of several parts that it is about: a kind of which all are concerned is not named."""
    places = set(met)
    for kind in [kind for kind, _ in met[0]]:
        without = {tuple(each for each in at if each[0] != kind) for at in places}
        if len(places) == len(without) * len(parts[kind]):
            places = without
    named = [", ".join(f"{kind} {parts[kind][place].name}" for kind, place in at) for at in sorted(places)]
    shown = list(dict.fromkeys(filter(None, named)))
    more = [f"and {len(shown) - _SHOWN} more"] if len(shown) > _SHOWN else []
    return f"{reason} ({'; '.join(shown[:_SHOWN] + more)})" if shown else reason
