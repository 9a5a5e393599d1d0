"""The tree of a document whose every value knows its file and line, and the problems found in it so far.

Knows nothing of YAML's grammar or of grids.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from grid.errors import Problem, SpecError
from tasks.config import Json

Scalar: TypeAlias = bool | int | float | str | None


MAX_VARIANTS = 30_000
"""How many variants the lists and the `each` of a spec may make together."""


@dataclass(frozen=True)
class Node:
    """A YAML value, with the line of its key (or of itself, in a list), its file, and a scalar's own spelling."""

    value: "Scalar | list[Node] | dict[str, Node]"
    line: int = field(default=0, compare=False)
    origin: str = field(default="", compare=False)
    text: str = field(default="", compare=False)

    def items(self, key: str = "") -> "Iterator[tuple[str, Node]]":
        """A list's or map's children, each with its dotted path below `key`; a scalar has none."""
        match self.value:
            case list() as children:
                pairs: Iterable[tuple[object, Node]] = enumerate(children)
            case dict() as children:
                pairs = children.items()
            case _:
                pairs = ()
        return ((f"{key}.{name}" if key else str(name), child) for name, child in pairs)


@dataclass
class Report:
    """The problems found so far. Those of another file than `origin` say which file they are in.

    `warnings` are what is no problem, but worth a look.

    `variants` counts what the spec's lists and `each` have made, so that all of them together stay within what can be
    checked. A spec that a store already has is not `limited`: what has been launched is read whatever its size.
    """

    origin: str
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    variants: int = 0
    limited: bool = True
    _places: set[tuple[bool, str, int, str]] = field(default_factory=set)
    _stands: dict[tuple[str, str], tuple[Node, str]] = field(default_factory=dict)

    def add(self, node: Node, key: str, message: str) -> None:
        """Note a problem at a node's line. Only the first of a place counts: what follows from it is noise."""
        self._note(self.problems, node, key, message)

    def warn(self, node: Node, key: str, message: str) -> None:
        """Note at a node's line what is allowed, but hardly meant."""
        self._note(self.warnings, node, key, message)

    def _note(self, noted: list[Problem], node: Node, key: str, message: str) -> None:
        place = (noted is self.problems, node.origin, node.line, key)
        if place in self._places:
            return
        self._places.add(place)
        where = f"in {node.origin}: " if node.origin not in {"", self.origin} else ""
        noted.append(Problem(node.line, key, where + message))

    def stands(self, where: str, part_of_id: str, node: Node, key: str) -> None:
        """Note at which node something stands that is known by its part of an id; the first place counts."""
        self._stands.setdefault((where, part_of_id), (node, key))

    def place_of(self, where: str, part_of_id: str, otherwise: Node) -> tuple[Node, str]:
        """Where that stands: in a list of a block (`cells.0.attacks`), or in what the spec says for all its blocks."""
        shared = where.rpartition(".")[2]
        return self._stands.get((where, part_of_id)) or self._stands.get((shared, part_of_id)) or (otherwise, where)

    def has_room(self, count: int, node: Node, key: str) -> bool:
        """Count so many variants more; reported, and not counted, where all together are more than MAX_VARIANTS."""
        if self.limited and self.variants + count > MAX_VARIANTS:
            message = f"{count} more variants than {self.variants} before, together more than {MAX_VARIANTS}"
            self.add(node, key, message)
            return False
        self.variants += count
        return True

    def finish(self) -> None:
        """Raise SpecError with every problem, if there is any."""
        if self.problems:
            raise SpecError(self.origin, self.problems)


def plain(node: Node) -> Json:
    """The value without lines: scalars, lists and maps."""
    match node.value:
        case list() as children:
            return [plain(child) for child in children]
        case dict() as children:
            return {key: plain(child) for key, child in children.items()}
        case scalar:
            return scalar


def text_of(node: Node | None, key: str, report: Report) -> str:
    """A scalar as its writer spelt it, also a number; nothing at all is empty. Reported where it is no scalar."""
    if node is None or node.value is None:
        return ""
    if isinstance(node.value, list | dict):
        report.add(node, key, "must be text")
        return ""
    return node.text or str(node.value)


def spelling(node: Node) -> str:
    """The value as its writer spelt it, on one line: a list as [2/255, 4/255]."""
    match node.value:
        case list() as children:
            return f"[{', '.join(map(spelling, children))}]"
        case dict() as children:
            return f"{{{', '.join(f'{key}: {spelling(child)}' for key, child in children.items())}}}"
    return node.text or "null"


def moved(node: Node, line: int, origin: str) -> Node:
    """The same tree, all of it said to stand at one place."""
    match node.value:
        case list() as children:
            return Node([moved(child, line, origin) for child in children], line, origin)
        case dict() as children:
            return Node({key: moved(child, line, origin) for key, child in children.items()}, line, origin)
    return replace(node, line=line, origin=origin)
