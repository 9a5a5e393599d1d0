"""A store, opened for questions: which files count, and the JSON records as tables. Writes nothing."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from grid.plan.costs import Costs
from grid.ranges import cover
from grid.results import query
from grid.store.cells import name_weights
from grid.store.store import Store
from tasks.config import canonical

OnBroken = Callable[[str, str], None]
"""Hears of each file that is no result: its path and why."""


def connect(store: Store, on_broken: OnBroken) -> query.Connection:
    """The views of a store, over the files that count now."""
    grids = store.grids.names()
    cells = list(store.cells.all())
    weights = {facts["cell_id"]: facts["weights_sha256"] for facts in cells}
    asked = {case.id: case for name in grids for case in _cases(store, name)}
    slices: dict[bool, list[query.Slice]] = {False: [], True: []}
    for case in sorted(store.shards.cases() & asked.keys()):
        made_with = name_weights(*map(weights.get, asked[case].cells))
        slices[asked[case].is_probe] += _slices(store, case, made_with, on_broken)
    return query.connect(
        query.Contents(
            wanted=[(name, store.grids.wanted_path(name)) for name in grids],
            published=[(name, store.grids.published_path(name)) for name in grids],
            slices=slices[False],
            measures=slices[True],
            histories=[(cell, store.cells.history_path(cell)) for cell in weights],
            trainings=_table(store.trainings.all(), query.TRAININGS),
            prepared=_table(_prepared(store), query.PREPARED),
            cells=_table(({**c, "cell": canonical(c["cell"])} for c in cells), query.CELLS),
            failures=_table(store.failures.all(), query.FAILURES),
            runs=_table(store.runs.all(), query.RUNS),
        )
    )


def known_costs(connection: query.Connection) -> Costs:
    """What trainings and samples have cost in this store."""
    costs = Costs()
    attacks, trainings = query.history_seconds(connection)
    for row in attacks.to_pylist():
        costs.add((row["attack"], row["architecture"], row["dataset"]), row["seconds"], 1)
    for row in trainings.to_pylist():
        costs.add((row["architecture"], row["dataset"]), row["seconds"], 1)
    return costs


class _Asked(NamedTuple):
    """A case that a grid wants, with the cells that its rows are made with: its own, and the source of a transfer."""

    id: str
    cells: list[str]
    is_probe: bool


def _cases(store: Store, grid: str) -> Iterable[_Asked]:
    table = store.grids.wanted(grid, ["case_id", "cell_id", "source_cell_id", "probe"])
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return (
        _Asked(case, [cell, source] if source else [cell], probe is not None)
        for case, cell, source, probe in rows
        if case
    )


def _prepared(store: Store) -> Iterable[dict[str, Any]]:
    """One record for each fact of each prepared attack."""
    for record in store.prepared.all():
        for fact, value in record["facts"].items():
            yield {**record, "fact": fact, "value": value}


def _slices(store: Store, case: str, weights: str | None, on_broken: OnBroken) -> list[query.Slice]:
    found = store.shards.inventory(case, weights)
    for path, reason in found.broken:
        on_broken(store.shards.where(path), reason)
    files = {file.positions: file for file in found.whole}
    return [
        query.Slice(
            case, store.shards.local_path(files[s.stored].path), s.stored.start, s.skip, s.take, files[s.stored].rows
        )
        for s in cover(files)
    ]


def _table(records: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([{name: r.get(name) for name in schema.names} for r in records], schema=schema)
