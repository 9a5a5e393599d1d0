"""What is left of a grid after its exclusions, and which published value is about which case.

Pure. Knows nothing of YAML, of files or of what is stored.
"""

from collections import defaultdict
from collections.abc import Sequence

from grid.plan.asked import Block, Chosen, GridSpec, Rule, Selection
from grid.plan.rule_index import BlockIndex, Box, KeyedRule
from tasks.cases import Attack


def select(spec: GridSpec) -> Selection:
    """Apply a spec's rules to its blocks."""
    indices = [BlockIndex(block) for block in spec.blocks]
    unused = set(range(len(spec.exclude)))
    unpublished = set(range(len(spec.published)))
    exclude = [KeyedRule(rule) for rule in spec.exclude]
    published = [KeyedRule(value.rule) for value in spec.published]
    chosen = []
    for block, index in zip(spec.blocks, indices, strict=True):
        excluded = _excluded(block, index, exclude, unused)
        chosen.append(Chosen(excluded, _published(block, index, published, excluded, unpublished)))
    left = any(block.num_asked and (c.excluded is None or 0 in c.excluded)
               for block, c in zip(spec.blocks, chosen, strict=True))  # fmt: skip
    return Selection(chosen, sorted(unused), sorted(unpublished), is_empty=not left)


def never(spec: GridSpec, rule: Rule) -> list[str]:
    """The axes of a rule of which already no case has the value."""
    indices = [BlockIndex(block) for block in spec.blocks]
    alone = {axis: KeyedRule(Rule({axis: values})) for axis, values in rule.allowed.items()}
    return [axis for axis, one in alone.items() if not any(index.boxes(one) for index in indices)]


def _excluded(block: Block, index: BlockIndex, rules: Sequence[KeyedRule], unused: set[int]) -> bytearray | None:
    marks: bytearray | None = None
    for number, rule in enumerate(rules):
        for box in index.boxes(rule):
            unused.discard(number)
            marks = marks or bytearray(block.num_asked)
            _mark(marks, index, box, max(1, len(block.asked)))
    return marks


def _mark(marks: bytearray, index: BlockIndex, box: Box, width: int) -> None:
    whole = b"\x01" * width if len(box.asked) == width else b""
    for cell in index.flat(box):
        start = cell * width
        if whole:
            marks[start : start + width] = whole
        else:
            for asked in box.asked:
                marks[start + asked] = 1


def _published(
    block: Block, index: BlockIndex, rules: Sequence[KeyedRule], excluded: bytearray | None, unpublished: set[int]
) -> dict[int, dict[int, list[int]]]:
    """Published values are about attacks: a probe's case has none."""
    attacks = {position for position, asked in enumerate(block.asked) if isinstance(asked.under, Attack)}
    width = len(block.asked)
    found: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, rule in enumerate(rules):
        for box in index.boxes(rule):
            asked = [position for position in box.asked if position in attacks]
            for cell in index.flat(box) if asked else ():
                for position in asked:
                    if not (excluded and excluded[cell * width + position]):
                        unpublished.discard(number)
                        found[cell][position].append(number)
    return found
