"""What a store has, as the questions that a plan asks. Reads; knows nothing of what is wanted."""

from collections.abc import Callable
from functools import cache

from grid.plan.plan import Stored
from grid.ranges import Range
from grid.store.cells import name_weights
from grid.store.store import Store
from tasks.cases import Case
from tasks.config import Cell


def stored_in(store: Store, on_broken: Callable[[str, str], None]) -> Stored:
    """What a store has, for a plan. `on_broken` is called with each file that is no result, and why."""
    with_shards = store.shards.cases()

    @cache
    def weights(cell: Cell) -> str | None:
        return store.cells.digest(cell.id)

    def positions(case: Case) -> list[Range]:
        if case.id not in with_shards:
            return []
        found = store.shards.inventory(case.id, name_weights(*map(weights, case.cells)))
        for path, reason in found.broken:
            on_broken(path, reason)
        return [file.positions for file in found.whole]

    @cache
    def is_there(prepared_id: str, cell: Cell) -> bool:
        found = weights(cell)
        return found is not None and store.prepared.facts(prepared_id, found) is not None

    return Stored(
        positions,
        trained=lambda cell: weights(cell) is not None,
        prepared=lambda case: is_there(case.prepared_id, case.seen),
        is_empty=not store.exists(),
    )
