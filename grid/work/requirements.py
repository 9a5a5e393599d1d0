"""What the tasks of a plan need of the machine that does them, as frozen data, and what a machine lacks of it.

Light, so that it is asked before anything runs: the driver need not import torch. Knows nothing of Ray.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grid.plan.plan import CellWork, Plan
from tasks import data, packages, registry
from tasks.config import Component
from tasks.needs import trained_as
from tasks.registry import ComponentSourceError, UnknownComponentError


@dataclass(frozen=True)
class Requirements:
    """The splits of datasets that are read, from where, and the kinds and names of all components."""

    data_root: str
    download: bool
    splits: tuple[tuple[Component, tuple[str, ...]], ...] = ()
    components: tuple[tuple[str, str], ...] = ()


def requirements(plan: Plan, data_root: str, *, download: bool) -> Requirements:
    """What is needed for all that a plan has left to do; nothing, if nothing is."""
    splits: dict[Component, set[str]] = {}
    components: dict[tuple[str, str], None] = {}
    for work in plan.work:
        for dataset, split in _splits(work):
            splits.setdefault(dataset, set()).add(split)
        for component in _components(work):
            components[component.kind, component.name] = None
    sorted_splits = tuple((dataset, tuple(sorted(names))) for dataset, names in splits.items())
    return Requirements(data_root, download, sorted_splits, tuple(components))


def lacking(required: Requirements) -> list[str]:
    """What this machine lacks, a line for each dataset, package or module; nothing where all can be done here."""
    return list(dict.fromkeys([*missing_data(required), *_missing_code(required)]))


def missing_data(required: Requirements) -> list[str]:
    """The datasets that are missing here, or are another data set's, a line for each."""
    root = Path(required.data_root)
    return [
        line
        for dataset, splits in required.splits
        if _is_described(dataset)
        for line in data.lacking(dataset, splits, root, download=required.download)
    ]


def unknown_data(required: Requirements) -> list[str]:
    """Files that are not the published ones, though nobody else's either: worth a look, and no reason not to run."""
    root = Path(required.data_root)
    there = [(dataset, splits) for dataset, splits in required.splits if _is_described(dataset)]
    lines = [line for dataset, splits in there for line in data.unknown(dataset, splits, root)]
    return list(dict.fromkeys(lines))


def _missing_code(required: Requirements) -> Iterator[str]:
    for kind, name in required.components:
        try:
            yield from packages.lacking(registry.describe(kind, name))
        except (ComponentSourceError, UnknownComponentError) as error:
            yield f"{kind} {name!r}: {error}"


def _is_described(dataset: Component) -> bool:
    """Whether the dataset's source is here; where it is not, its code is what is missing."""
    try:
        registry.describe("dataset", dataset.name)
    except (ComponentSourceError, UnknownComponentError):
        return False
    return True


def _splits(work: CellWork) -> Iterator[tuple[Component, str]]:
    """The splits that a cell's work reads. A model is built for its test split; other weights are taken as they are."""
    yield work.cell.dataset, "test"
    if work.train and (work.base is None or trained_as(work.cell) == work.cell):
        yield work.cell.dataset, "train"
    for wanted in (*work.cases, *work.traced):
        if wanted.case.source:
            yield wanted.case.source.dataset, "test"
        if wanted.prepare:
            yield wanted.case.seen.dataset, str(wanted.case.attack.component.parameters.get("fit_split", "test"))


def _components(work: CellWork) -> Iterator[Component]:
    yield from work.cell.components
    for wanted in (*work.cases, *work.traced):
        yield from wanted.case.under.components
        if wanted.case.source:
            yield from wanted.case.source.components
