"""The cells of blocks: the product of a block's lists, and which cells are there several times. Pure."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from grid.plan.asked import Block
from tasks.config import Cell
from tasks.needs import is_watching, settled, settled_training


def meetings(blocks: Sequence[Block]) -> dict[str, list[tuple[int, int]]]:
    """Of each cell that is there several times, the blocks that have it and its number in each.

    A block by itself has no cell twice, unless its trainings watch different things.
    """
    if len(blocks) < 2 and not any(_watches_several(block) for block in blocks):
        return {}
    first: dict[str, tuple[int, int]] = {}
    shared: dict[str, list[tuple[int, int]]] = {}
    for number, block in enumerate(blocks):
        for place, cell in enumerate(product(block)):
            known = first.setdefault(cell.id, (number, place))
            if known != (number, place):
                shared.setdefault(cell.id, [known]).append((number, place))
    return shared


def _watches_several(block: Block) -> bool:
    return len({training.parameters.get("watch") for training in block.parts["training"]}) > 1


def product(block: Block) -> Iterator[Cell]:
    """The cells of a block, the last of its lists varying fastest."""
    trainings = block.parts["training"]
    alone = tuple(settled_training(training, adding=False) for training in trainings)
    axes = replace(block, parts={**block.parts, "training": alone}).axes
    cells = (Cell(*chosen) for chosen in itertools.product(*axes))  # type: ignore[arg-type] # in the order of CELL_LISTS
    # What none of its trainings watches is settled already, whatever else a cell is made of.
    return map(settled, cells) if any(map(is_watching, trainings)) else cells
