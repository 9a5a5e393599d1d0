"""Views over the files and records of a store, from which every question starts.

`views.sql` and `comparisons.sql` say what they hold. Knows nothing of a store's layout or of which files count:
`Contents` says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from grid.errors import StoreError
from grid.results.axes import axes_macros
from grid.results.database import Connection, explained, hold, lay_over, lock, new_database, sql_text
from grid.results.student import student_macros
from tasks.schema import HISTORY, MEASURES, PUBLISHED, SAMPLES, WANTED


def _schema(*names: str, **kinds: pa.DataType) -> pa.Schema:
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names])


CELLS = _schema(
    *("cell_id", "cell", "test_accuracy", "train_accuracy", "seconds", "parameters"),
    *("host", "device", "gpu", "worker", "versions", "run_id", "finished"),
    test_accuracy=pa.float64(),
    train_accuracy=pa.float64(),
    seconds=pa.float64(),
    parameters=pa.int64(),
)
"""One row per trained cell. `cell` (resolved) and `versions` are JSON text."""

FAILURES = _schema(
    *("task_id", "task", "cell_id", "case_id", "start", "stop", "kind", "error", "message", "traceback"),
    *("host", "attempt", "time", "run_id"),
    start=pa.int64(),
    stop=pa.int64(),
    attempt=pa.int64(),
)
"""One row per failure record. `case_id` is null for training, `start` and `stop` where there is no range."""

RUNS = _schema(
    *("run_id", "grid", "started", "finished", "outcome", "done", "failed", "skipped"),
    *("commit", "dirty", "versions", "host", "command"),
    done=pa.int64(),
    failed=pa.int64(),
    skipped=pa.int64(),
    dirty=pa.bool_(),
)
"""One row per run. `versions` is JSON text, `command` one line. Times, here and above, are ISO 8601 in UTC."""

TRAININGS = _schema(
    *("cell_id", "epoch", "epochs", "loss", "train_accuracy", "seconds", "time"),
    epoch=pa.int64(),
    epochs=pa.int64(),
    loss=pa.float64(),
    train_accuracy=pa.float64(),
    seconds=pa.float64(),
)
"""One row per training that is not done: its last epoch that was told, of how many at most."""

PREPARED = _schema(
    *("prepared_id", "cell_id", "fact", "value", "seconds", "host", "device", "run_id", "finished"),
    value=pa.float64(),
    seconds=pa.float64(),
)
"""One row per fact of a prepared attack, such as its fooling_rate. `cell_id`: the cell it was made with."""


class Slice(NamedTuple):
    """Positions `skip` to `skip + take` of one shard file, whose first is `start` of its case's order.

    Each position has `rows` rows in the file, one after another: one for each target.
    """

    case_id: str
    path: str
    start: int
    skip: int
    take: int
    rows: int = 1


@dataclass(frozen=True)
class Contents:
    """What a store holds: (grid, path) of the wanted and published tables, the slices of shards, and the records.

    `slices` are of attacks, `measures` of probes; `histories` are (cell, path). `left_out` are the rows of the wanted
    tables that are not asked about: which of the tables, and the position in it.

    No position of a case may lie in two slices. A file may have several slices. Paths are local.
    """

    wanted: Sequence[tuple[str, str]] = ()
    left_out: Sequence[tuple[int, int]] = ()
    published: Sequence[tuple[str, str]] = ()
    slices: Sequence[Slice] = ()
    measures: Sequence[Slice] = ()
    histories: Sequence[tuple[str, str]] = ()
    cells: pa.Table = field(default_factory=CELLS.empty_table)
    trainings: pa.Table = field(default_factory=TRAININGS.empty_table)
    prepared: pa.Table = field(default_factory=PREPARED.empty_table)
    failures: pa.Table = field(default_factory=FAILURES.empty_table)
    runs: pa.Table = field(default_factory=RUNS.empty_table)


def connect(contents: Contents) -> Connection:
    """Views over a store: those of `grid.questions.VIEWS`, and in the schema `base` what lies beneath them.

    The connection can read the named files and nothing else. Raises StoreError where a file cannot be read.
    """
    con = new_database()
    with explained(con, StoreError):
        paths = [*_lay_shards(con, contents), *_lay_files(con, contents)]
        for name in ("cells", "trainings", "prepared", "failures", "runs"):
            hold(con, name, getattr(contents, name))
        for text in (axes_macros(), student_macros(), sql_text("macros"), sql_text("views")):
            con.execute(text)
        lock(con, paths)
    return con


def add_comparisons(con: Connection) -> None:
    """The views of `comparisons.sql`, once: they take as long to make as all others, and few questions ask them."""
    [(there,)] = con.execute("SELECT count(*) FROM duckdb_views() WHERE view_name = 'comparisons'").fetchall()
    if not there:
        con.execute(sql_text("comparisons"))


def _lay_shards(con: Connection, contents: Contents) -> list[str]:
    """The tables of slices and the views over their files; returns the files."""
    paths: list[str] = []
    for name, schema, slices, table in (
        ("samples", SAMPLES, contents.slices, "slices"),
        ("measures", MEASURES, contents.measures, "measure_slices"),
    ):
        shards = list(dict.fromkeys(part.path for part in slices))
        hold(con, table, _slices(slices, shards))
        lay_over(con, name, schema, shards)
        paths += shards
    return paths


def _lay_files(con: Connection, contents: Contents) -> list[str]:
    """The views over the files that are whole, and the tables of what each file is of; returns the files."""
    paths: list[str] = []
    for name, schema, owner, named in (
        ("wanted", WANTED, "grid", contents.wanted),
        ("published", PUBLISHED, "grid", contents.published),
        ("history", HISTORY, "cell_id", contents.histories),
    ):
        index = pa.array(range(len(named)), pa.uint64())
        owners = pa.array([each for each, _ in named], pa.string())
        hold(con, f"{name}_files", pa.table({"file_index": index, owner: owners}))
        lay_over(con, name, schema, [path for _, path in named])
        paths += [path for _, path in named]
    files, rows = ([row[place] for row in contents.left_out] for place in (0, 1))
    left_out = {"file_index": pa.array(files, pa.uint64()), "file_row_number": pa.array(rows, pa.int64())}
    hold(con, "left_out", pa.table(left_out))
    return paths


def _slices(slices: Sequence[Slice], shards: Sequence[str]) -> pa.Table:
    index = {path: position for position, path in enumerate(shards)}
    columns = {
        "file_index": pa.array([index[part.path] for part in slices], pa.uint64()),
        "case_id": pa.array([part.case_id for part in slices], pa.string()),
        **{name: pa.array([getattr(part, name) for part in slices], pa.int64()) for name in Slice._fields[2:]},
    }
    return pa.table(columns)
