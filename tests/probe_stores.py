"""Stores with measurements made by hand."""

import hashlib

import pyarrow as pa
import pytest
from test_query import wanted_row

from grid.ranges import Range
from grid.results import contents as reading
from grid.results.query import query
from grid.store.store import Store
from tasks.schema import HISTORY, MEASURES, PUBLISHED, WANTED

GRID = "g"
WEIGHTS = b"weights"


def probed_row(cell, case, probe="confidence", samples=4, epochs="last", **more):
    """The row of the wanted table that asks for a probe."""
    row = wanted_row(cell, None) | {"case_id": case, "probe": probe, "probe_label": probe, "samples_wanted": samples}
    return row | {"probe_json": f'{{"name": "{probe}", "epochs": "{epochs}"}}'} | more


def measured(case, values, labels=None, layer=None, epochs=(None,)):
    """Rows of MEASURES, sample by sample and for each epoch: `values[measure][sample]`, a list if it has elements."""
    count = len(next(iter(values.values())))
    where = dict.fromkeys(("host", "device", "worker", "versions", "run_id"), "x") | {"seed": 0, "seconds": 0.5}
    return [
        {"case_id": case, "sample": 10 + sample, "label": labels[sample] if labels else 0, "epoch": epoch}
        | {"layer": layer, "measure": name, "element": element, "value": value}
        | where
        for sample in range(count)
        for epoch in epochs
        for name, found in values.items()
        for element, value in (enumerate(found[sample]) if isinstance(found[sample], list) else [(None, found[sample])])
    ]


def together(*tables):
    """The rows of several calls of `measured` on the same samples, those of a sample one after another."""
    return sorted((row for table in tables for row in table), key=lambda row: row["sample"])


def store_of(folder, wanted, shards=(), histories=()):
    """A store of GRID: `shards` are (start, rows), `histories` (cell, rows). All are trained but `untrained`."""
    store = Store(str(folder / "store"))
    store.create()
    table = pa.Table.from_pylist([{"asked": True} | row for row in wanted], schema=WANTED)
    store.grids.save(GRID, "", table, PUBLISHED.empty_table())
    told = dict(histories)
    for cell in {row["cell_id"] for row in wanted} - {"untrained"}:
        rows = [dict.fromkeys(HISTORY.names, 0) | row for row in told.get(cell, [])]
        history = pa.Table.from_pylist(rows, schema=HISTORY)
        store.cells.save(cell, WEIGHTS, history, {"cell_id": cell, "cell": {}})
    for start, rows in shards:
        case, count = rows[0]["case_id"], len({row["sample"] for row in rows})
        table = pa.Table.from_pylist(rows, schema=MEASURES)
        sha = hashlib.sha256(WEIGHTS).hexdigest()
        assert store.shards.save(case, Range(start, start + count), table, sha, "{}")
    return store


def answer(store, name, *columns):
    """The rows of a table of GRID, as dicts or just some columns of them."""
    with reading.connect(store, lambda path, reason: pytest.fail(f"{path}: {reason}")) as con:
        rows = query(con, name, GRID).to_pylist()
    return [tuple(row[column] for column in columns) for row in rows] if columns else rows
