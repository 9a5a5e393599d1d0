"""What a grid's foreign components say before any task: whether they can be had, and what they refuse.

Asked once by one worker, since it runs their code. Knows nothing of Ray or of what is stored.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace

from grid.plan.asked import Chosen, GridSpec, Selection
from grid.plan.contradictions import BlockLook, Parts, combinations, contradictions
from grid.work.task import Settings
from tasks import registry
from tasks.config import CELL_PARTS, Cell, Component

MODEL_PARTS = ("dataset", "architecture", "activation", "head", "defense")
"""The parts of a cell that its model is built of."""


def foreign_part(spec: GridSpec) -> GridSpec | None:
    """The blocks of a grid that have components of other packages; None if there are none."""
    chosen = [number for number, block in enumerate(spec.blocks) if any(map(_is_foreign, block.components()))]
    if not chosen:
        return None
    selection = spec.selection
    if selection:
        excluded = [Chosen(selection.blocks[number].excluded) for number in chosen]
        selection = Selection(excluded, (), (), is_empty=False)
    blocks = tuple(spec.blocks[number] for number in chosen)
    return replace(spec, blocks=blocks, selection=selection, published=(), document="")


def ask(spec: GridSpec, settings: Settings) -> list[str]:
    """Everything that is wrong with the foreign components of a grid, each in one line; empty if nothing is.

    First each is imported; then it is asked what it refuses; then each model with one is built, and looks at images of
    the dataset's shape.
    """
    foreign = {(part.kind, part.name) for block in spec.blocks for part in block.components() if _is_foreign(part)}
    problems = [problem for kind, name in sorted(foreign) for problem in _imported(kind, name)]
    if not problems:
        problems += [f"{_named(about)}: {reason}" for _, about, reason in contradictions(spec, foreign=True)]
    if not problems:
        problems += itertools.chain(*(_models(spec, number, settings) for number in range(len(spec.blocks))))
    return list(dict.fromkeys(problems))


def _is_foreign(component: Component) -> bool:
    return not registry.is_built_in(component.kind, component.name)


def _named(about: object) -> str:
    return f"{getattr(about, 'kind')} {getattr(about, 'name')}"  # noqa: B009 - a component, an attack or a probe


def _imported(kind: str, name: str) -> Iterator[str]:
    """What keeps a component from being imported."""
    try:
        registry.load(kind, name)
        if kind == "attack" and registry.describe(kind, name).facts.prepared:
            registry.load_prepare(name)
    except Exception as error:  # noqa: BLE001 - whatever foreign code raises is said
        yield f"{kind} {name} cannot be imported: {type(error).__name__}: {error}"


def _models(spec: GridSpec, number: int, settings: Settings) -> Iterator[str]:
    """What keeps the models of a block that have a foreign part from being built, or from looking at an image."""
    block = spec.blocks[number]
    look = BlockLook(block, spec.selection.blocks[number].excluded if spec.selection else None, foreign=True)
    for at, parts in combinations(block.parts, MODEL_PARTS):
        has_foreign = any(_is_foreign(each) for part in parts.values() for each in (part, *part.parts))
        if has_foreign and look.is_wanted(at, block.parts, None):
            yield from _model(parts, block.parts, settings)


def _model(parts: dict[str, Component], of_block: Parts, settings: Settings) -> Iterator[str]:
    import torch  # noqa: PLC0415 - the driver, which only names `ask`, never imports torch

    from grid.work.bench import bench_for  # noqa: PLC0415 - as above
    from tasks.compared import compare_passes  # noqa: PLC0415 - as above
    from tasks.model import build_model  # noqa: PLC0415 - as above

    cell = Cell(**{kind: parts.get(kind) or of_block[kind][0] for kind in CELL_PARTS}, seed=0)
    try:
        split = bench_for(settings).split(cell.dataset, "test")
        model = build_model(cell, split).eval()
        images = split.images[:2].float() / (255 if split.images.dtype == torch.uint8 else 1)
        compare_passes(model, images, torch.arange(len(images)))
    except Exception as error:  # noqa: BLE001 - whatever foreign code raises is said
        named = "/".join(part.name for part in parts.values())
        yield f"{named} cannot be built: {type(error).__name__}: {error}"
