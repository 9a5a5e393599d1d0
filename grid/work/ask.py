"""What only a worker finds out before any task: whether foreign components can be had, what they refuse, what is built.

Asked once by one worker, since it runs foreign code, and reads data that does not declare its shape. Knows nothing of
Ray or of what is stored.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from grid.plan.asked import Asked, Chosen, GridSpec, Selection
from grid.plan.contradictions import BlockLook, combinations, contradictions
from grid.plan.selection import select
from grid.work.task import Settings
from tasks import registry
from tasks.config import CELL_PARTS, Cell, Component
from tasks.facts import chosen
from tasks.needs import MODEL_PARTS
from tasks.sources import RAISED

BUILT_OF = ("dataset", *MODEL_PARTS)
"""The parts of a cell without which its model is not built."""

_FITTING = ("head", "defense")


def unknown_part(spec: GridSpec) -> GridSpec | None:
    """The blocks of a grid that `check` does not know enough of; None if there are none."""
    unknown = [number for number, block in enumerate(spec.blocks) if any(map(_is_unknown, block.components()))]
    if not unknown:
        return None
    selected = (spec.selection or select(spec)).blocks
    selection = Selection([Chosen(selected[number].excluded) for number in unknown], (), (), is_empty=False)
    blocks = tuple(spec.blocks[number] for number in unknown)
    return replace(spec, blocks=blocks, selection=selection, published=(), document="")


def ask(spec: GridSpec, settings: Settings) -> list[str]:
    """Everything that is wrong with the foreign components of a grid, each in one line; empty if nothing is.

    First each is imported; then it is asked what it refuses; then models with one, and those of datasets that do not
    declare their images, are built and look at two images.
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


def _is_unknown(component: Component) -> bool:
    """Whether only its code or its data tell what fits it."""
    if component.kind != "dataset" or _is_foreign(component):
        return _is_foreign(component)
    facts = registry.describe("dataset", component.name).facts
    return facts.shape is None or chosen(facts.classes, component.parameters) is None


def _named(about: Component | Asked) -> str:
    named = about.under if isinstance(about, Asked) else about
    return f"{named.kind} {named.name}"


def _imported(kind: str, name: str) -> Iterator[str]:
    """What keeps a component from being imported."""
    try:
        registry.load(kind, name)
        if kind == "attack" and registry.describe(kind, name).facts.prepared:
            registry.load_prepare(name)
    except RAISED as error:
        yield f"{kind} {name} cannot be imported: {type(error).__name__}: {error}"


def _models(spec: GridSpec, number: int, settings: Settings) -> Iterator[str]:
    """What keeps the models of a block that have an unknown part from being built, or from looking at an image.

    Heads and defenses that are known all fit, so that one of each stands for the others.
    """
    block = spec.blocks[number]
    look = BlockLook(block, (spec.selection or select(spec)).blocks[number].excluded, foreign=True)
    for position, parts in ((None, block.parts), *enumerate(map(block.parts_seen, block.asked))):
        varied = [kind for kind in BUILT_OF if kind not in _FITTING or any(map(_has_unknown, parts[kind]))]
        for at, named in combinations(parts, varied) if position is None or parts != block.parts else ():
            if any(map(_has_unknown, named.values())) and look.is_wanted(at, parts, position):
                yield from _model({**{kind: parts[kind][0] for kind in BUILT_OF}, **named}, block.parts, settings)


def _has_unknown(part: Component) -> bool:
    return any(map(_is_unknown, (part, *part.parts)))


def _model(
    parts: dict[str, Component], of_block: Mapping[str, Sequence[Component]], settings: Settings
) -> Iterator[str]:
    import torch  # noqa: PLC0415 - the driver, which only names `ask`, never imports torch

    from grid.work.bench import bench_for  # noqa: PLC0415 - as above
    from tasks.compared import compare_passes  # noqa: PLC0415 - as above
    from tasks.model import build_model  # noqa: PLC0415 - as above

    of_cell: dict[str, Any] = {kind: parts.get(kind) or of_block[kind][0] for kind in CELL_PARTS}
    cell = Cell(**of_cell, seed=0)
    try:
        split = bench_for(settings).split(cell.dataset, "test")
        model = build_model(cell, split).eval()
        images = split.images[:2].float() / (255 if split.images.dtype == torch.uint8 else 1)
        compare_passes(model, images, torch.arange(len(images)))
        model.log_probabilities(model(images))
    except RAISED as error:
        named = "/".join(part.name for part in parts.values())
        yield f"{named} cannot be built: {type(error).__name__}: {error}"
