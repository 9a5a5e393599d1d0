"""A store, opened for questions: which files count, and the JSON records as tables. Writes nothing."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import pyarrow as pa

from grid.errors import UsageError
from grid.plan.asked import Rule
from grid.plan.costs import Costs
from grid.ranges import cover
from grid.results import views
from grid.results.database import Connection
from grid.results.query import history_seconds
from grid.results.where import COLUMNS, Subject, selector, subjects, why_none
from grid.store.cells import name_weights
from grid.store.store import Store
from tasks.config import canonical

OnBroken = Callable[[str, str], None]
"""Called with each damaged file: its path and what is wrong with it."""

_OF_CASE = ("case_id", "cell_id", "source_cell_id", "probe")


class Asked(NamedTuple):
    """A case that a grid wants, with the cells that its rows are made with: its own, and the source of a transfer."""

    cells: list[str]
    is_probe: bool


@dataclass(frozen=True)
class Scope:
    """What of a store is asked about: cases by their ids, and cells.

    `left_out` are the other rows of the wanted tables: the number of the table, and the row. A whole one also has what
    no grid wants.
    """

    cases: Mapping[str, Asked]
    cells: frozenset[str]
    left_out: Sequence[tuple[int, int]]
    is_whole: bool

    def has(self, record: Mapping[str, Any]) -> bool:
        """Whether a record of a cell, or of one of its cases, is asked about."""
        case = record.get("case_id")
        return self.is_whole or (case in self.cases if case else record["cell_id"] in self.cells)


def connect(
    store: Store, on_broken: OnBroken, where: Rule | None = None, grids: Sequence[str] | None = None
) -> Connection:
    """The views of a store, over the files that count now; only of the wanted rows that a rule selects, if given.

    `grids`: only what these ask for; None is all there is. A rule that names nothing but the axes of cells selects
    those that no grid wants as well. Runs are never narrowed. Raises UsageError where the rule selects nothing of
    what there is.
    """
    names = store.grids.names() if grids is None else list(grids)
    trained = {facts["cell_id"]: facts for facts in store.cells.all()}
    scope = _scope(store, names, trained.values(), where)
    shown = [facts for facts in trained.values() if scope.has(facts)]
    slices = _stored(store, scope.cases, trained, on_broken)
    return views.connect(
        views.Contents(
            wanted=[(name, store.grids.wanted_path(name)) for name in names],
            left_out=scope.left_out,
            published=[(name, store.grids.published_path(name)) for name in names],
            slices=slices[False],
            measures=slices[True],
            histories=[(facts["cell_id"], store.cells.history_path(facts["cell_id"])) for facts in shown],
            trainings=_table(filter(scope.has, store.trainings.all()), views.TRAININGS),
            prepared=_table(_prepared(store), views.PREPARED),
            cells=_table(({**facts, "cell": canonical(facts["cell"])} for facts in shown), views.CELLS),
            failures=_table(filter(scope.has, store.failures.all()), views.FAILURES),
            runs=_table(store.runs.all(), views.RUNS),
        )
    )


def known_costs(connection: Connection) -> Costs:
    """What trainings and samples have cost in this store."""
    costs = Costs()
    attacks, trainings = history_seconds(connection)
    for row in attacks.to_pylist():
        costs.add((row["attack"], row["architecture"], row["dataset"]), row["seconds"], 1)
    for row in trainings.to_pylist():
        costs.add((row["architecture"], row["dataset"]), row["seconds"], 1)
    return costs


def _scope(store: Store, grids: list[str], trained: Collection[Mapping[str, Any]], where: Rule | None) -> Scope:
    is_whole = grids == store.grids.names()
    if where is None or not where.allowed:
        tables = [store.grids.wanted(name, _OF_CASE) for name in grids]
        cells = frozenset(cell for table in tables for cell in table["cell_id"].to_pylist())
        return Scope(_cases(tables), cells, (), is_whole=is_whole)
    tables = [store.grids.wanted(name, COLUMNS) for name in grids]
    selects = selector(where)
    kept = [[selects(subject) for subject in subjects(table)] for table in tables]
    selected = [table.filter(pa.array(rows, pa.bool_())) for table, rows in zip(tables, kept, strict=True)]
    cells = frozenset(cell for table in selected for cell in table["cell_id"].to_pylist())
    if is_whole:
        cells |= {facts["cell_id"] for facts in trained if selects(Subject(facts["cell"]))}
    if not cells:
        raise UsageError(f"nothing here is selected: {why_none(chain.from_iterable(map(subjects, tables)), where)}")
    left_out = [(file, row) for file, rows in enumerate(kept) for row, is_kept in enumerate(rows) if not is_kept]
    return Scope(_cases(selected), cells, left_out, is_whole=False)


def _stored(
    store: Store, cases: Mapping[str, Asked], trained: Mapping[str, Mapping[str, Any]], on_broken: OnBroken
) -> dict[bool, list[views.Slice]]:
    """What is stored of attacks, and (True) of probes, made with the weights that their cells have now."""
    slices: dict[bool, list[views.Slice]] = {False: [], True: []}
    for case in sorted(store.shards.cases() & cases.keys()):
        facts = [trained.get(cell, {}) for cell in cases[case].cells]
        made_with = name_weights(*(each.get("weights_sha256") for each in facts))
        slices[cases[case].is_probe] += _slices(store, case, made_with, on_broken)
    return slices


def _cases(wanted: Iterable[pa.Table]) -> dict[str, Asked]:
    return {
        case: Asked([cell, source] if source else [cell], probe is not None)
        for table in wanted
        for case, cell, source, probe in zip(*(table[name].to_pylist() for name in _OF_CASE), strict=True)
        if case
    }


def _prepared(store: Store) -> Iterable[dict[str, Any]]:
    """One record for each fact of each prepared attack."""
    for record in store.prepared.all():
        for fact, value in record["facts"].items():
            yield {**record, "fact": fact, "value": value}


def _slices(store: Store, case: str, weights: str | None, on_broken: OnBroken) -> list[views.Slice]:
    found = store.shards.inventory(case, weights)
    for path, reason in found.broken:
        on_broken(store.shards.where(path), reason)
    files = {file.positions: file for file in found.whole}
    return [
        views.Slice(
            case, store.shards.local_path(files[s.stored].path), s.stored.start, s.skip, s.take, files[s.stored].rows
        )
        for s in cover(files)
    ]


def _table(records: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([{name: r.get(name) for name in schema.names} for r in records], schema=schema)
