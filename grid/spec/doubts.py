"""What a spec may say, but hardly means: a radius in units of 0 to 255, more samples than there are. Each is a warning.

So is an ensemble that is meant for other models. Knows nothing of what is refused.
"""

from collections.abc import Iterator, Mapping

from grid.plan.asked import Block, GridSpec
from grid.plan.expand import split_size
from grid.spec.keys import ASKED, SOURCE
from grid.spec.nodes import Node, Report
from tasks.cases import Attack, Budget, Probe
from tasks.config import Component
from tasks.needs import MODEL_PARTS, says_it_draws


def doubt_budget(budget: Budget, node: Node, key: str, report: Report) -> None:
    """Warn of an attack's eps in units of 0 to 255, where pixels in [0, 1] are meant."""
    if budget.norm == "linf" and budget.space == "pixel" and budget.box:
        _doubt_eps(budget.eps, node, key, report)


def doubt_component(component: Component, node: Node, key: str, report: Report) -> None:
    """Warn of the same eps where it is a component's own parameter: that of a defense or of a probe."""
    if component.parameters.get("norm", "linf") == "linf":
        _doubt_eps(component.parameters.get("eps"), node, key, report)


def _doubt_eps(eps: object, node: Node, key: str, report: Report) -> None:
    if isinstance(eps, int | float) and eps > 1:
        meant = f"; in units of 0 to 255 write {eps:g}/255" if eps <= 255 else ""
        report.warn(node, key, f"pixels are in [0, 1], so every image is within {eps:g} of every other{meant}")


def doubt_counts(spec: GridSpec, root: Node, report: Report) -> None:
    """Warn of each count of samples beyond a dataset's split: all of it is taken."""
    blocks = list(zip(_children(root, "cells"), spec.blocks, strict=False))
    top = dict(root.items())
    if isinstance(spec.samples.count, int):
        _doubt(spec.samples.count, dict(top["samples"].items())["count"], "samples.count", _sizes(spec.blocks), report)
    for asked in ASKED:
        heirs = [block for (_, node), block in blocks if asked not in dict(node.items())]
        for node, key, sizes in [
            (top.get(asked, Node(None)), asked, _sizes(heirs)),
            *((dict(node.items()).get(asked, Node(None)), f"{key}.{asked}", _sizes([b])) for (key, node), b in blocks),
        ]:
            for count, place in _counts(node, key):
                if isinstance(count.value, int):
                    _doubt(count.value, count, place, sizes, report)


def doubt_ensembles(spec: GridSpec, root: Node, report: Report) -> None:
    """Warn of AutoAttack's standard version on cells that draw numbers when they evaluate."""
    for (key, node), block in zip(_children(root, "cells"), spec.blocks, strict=False):
        drawing = {part.name for kind in MODEL_PARTS for part in block.parts[kind] if says_it_draws(part)}
        if drawing and any(_is_standard(asked.under) for asked in block.asked):
            own = dict(node.items()).get("attacks")
            place, where = (own, f"{key}.attacks") if own else (dict(root.items()).get("attacks", root), "attacks")
            advice = "autoattack's standard version is for models that draw nothing"
            report.warn(place, where, f"{', '.join(sorted(drawing))} draws: {advice}; add `version: rand`")


def _is_standard(under: Attack | Probe) -> bool:
    return isinstance(under, Attack) and under.title == "autoattack"


def _doubt(count: int, node: Node, key: str, sizes: Mapping[str, int], report: Report) -> None:
    if small := ", ".join(f"{name} has {size}" for name, size in sizes.items() if size < count):
        report.warn(node, key, f"{small}: all of them are taken")


def _sizes(blocks: list[Block] | tuple[Block, ...]) -> dict[str, int]:
    """How many images each dataset has to test on, where that is declared."""
    datasets = [dataset for block in blocks for dataset in block.parts["dataset"]]
    return {dataset.name: size for dataset in datasets if (size := split_size(dataset))}


def _children(root: Node, key: str) -> list[tuple[str, Node]]:
    return list(dict(root.items()).get(key, Node(None)).items(key))


def _counts(node: Node, key: str) -> Iterator[tuple[Node, str]]:
    """Every value of a `samples` in what is asked, whether it varies or not. A source's training has its own."""
    for place, child in node.items(key):
        name = place.rpartition(".")[2]
        if name == "samples":
            yield child, place
            yield from ((value, at) for _, varied in child.items() for at, value in varied.items(place))
        elif name != SOURCE:
            yield from _counts(child, place)
