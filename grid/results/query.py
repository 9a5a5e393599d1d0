"""Questions to a store, in SQL: the one place that talks to DuckDB.

`connect` lays views over the files that the caller names, `query` runs one of the questions in `grid/results/sql`, and
`run_sql` runs a user's own text, provided that it only reads. Files are read when a question is asked, and nothing
outside them can be reached. Knows nothing of a store's layout or of which files count: `Contents` says so.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, NamedTuple, TypeAlias

import duckdb
import pyarrow as pa

from grid.errors import GridError, StoreError, UsageError
from grid.questions import TABLES
from tasks.schema import HISTORY, MEASURES, PUBLISHED, SAMPLES, WANTED

Connection: TypeAlias = duckdb.DuckDBPyConnection
"""An open set of views; also a context manager that closes itself."""


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

    `slices` are of attacks, `measures` of probes; `histories` are (cell, path).

    No position of a case may lie in two slices. A file may have several slices. Paths are local.
    """

    wanted: Sequence[tuple[str, str]] = ()
    published: Sequence[tuple[str, str]] = ()
    slices: Sequence[Slice] = ()
    measures: Sequence[Slice] = ()
    histories: Sequence[tuple[str, str]] = ()
    cells: pa.Table = field(default_factory=CELLS.empty_table)
    trainings: pa.Table = field(default_factory=TRAININGS.empty_table)
    prepared: pa.Table = field(default_factory=PREPARED.empty_table)
    failures: pa.Table = field(default_factory=FAILURES.empty_table)
    runs: pa.Table = field(default_factory=RUNS.empty_table)


class Seconds(NamedTuple):
    """What past work took on average, in seconds; `n` is how many samples or cells each mean is over.

    `attack`: per attacked sample, by (attack, architecture, dataset). `train`: per cell, by (dataset, architecture).
    """

    attack: pa.Table
    train: pa.Table


def connect(contents: Contents) -> Connection:
    """Views over a store, such as cells, samples, measures, coverage and published.

    They are written in `grid/results/sql/views.sql`.

    The connection can read the named files and nothing else. Raises StoreError where a file cannot be read.
    """
    con = duckdb.connect(config={"python_enable_replacements": False, "temp_directory": ""})
    shards, measured = (list(dict.fromkeys(s.path for s in slices)) for slices in (contents.slices, contents.measures))
    with _explained(con, StoreError):
        con.execute("CREATE SCHEMA base")
        _hold(con, "cells", contents.cells)
        _hold(con, "trainings", contents.trainings)
        _hold(con, "prepared", contents.prepared)
        _hold(con, "failures", contents.failures)
        _hold(con, "runs", contents.runs)
        _hold(con, "slices", _slices(contents.slices, shards))
        _hold(con, "measure_slices", _slices(contents.measures, measured))
        _read(con, "samples", SAMPLES, shards)
        _read(con, "measures", MEASURES, measured)
        _hold(con, "history_files", _named("cell_id", contents.histories))
        _read(con, "history", HISTORY, [path for _, path in contents.histories])
        for name, schema, named in (
            ("wanted", WANTED, contents.wanted),
            ("published", PUBLISHED, contents.published),
        ):
            _hold(con, f"{name}_files", _named("grid", named))
            _read(con, name, schema, [path for _, path in named])
        con.execute(_text("macros"))
        con.execute(_text("views"))
        named_files = (*contents.wanted, *contents.published, *contents.histories)
        _lock(con, [*shards, *measured, *(path for _, path in named_files)])
    return con


def query(con: Connection, name: str, grid: str) -> pa.Table:
    """The answer to one of TABLES about a grid. Raises UsageError if either is unknown, StoreError on torn files."""
    if name not in TABLES:
        raise UsageError(_unknown("table", name, TABLES))
    known = [row[0] for row in con.execute("SELECT grid FROM base.wanted_files ORDER BY grid").fetchall()]
    if grid not in known:
        raise UsageError(_unknown("grid", grid, known))
    with _explained(con, StoreError):
        return _answer(con, _text(name), {"grid": grid})


def history_seconds(con: Connection) -> Seconds:
    """What the store's own past says about durations. Raises StoreError on torn files."""
    with _explained(con, StoreError):
        return Seconds(_answer(con, _text("attack_seconds")), _answer(con, _text("train_seconds")))


def run_sql(con: Connection, text: str) -> pa.Table:
    """The answer to a user's own SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN.

    Raises UsageError if the text is anything but one statement that only reads, or if DuckDB refuses it, and
    StoreError if a file of the store cannot be read.
    """
    with _explained(con, UsageError):
        _refuse_all_but_reading(con, text)
        answer = _answer(con, text)
    return answer.rename_columns(_told_apart(answer.column_names))


@contextmanager
def _explained(con: Connection, fault: type[GridError]) -> Iterator[None]:
    """Turn DuckDB's errors into `fault`, or into StoreError where a file is what is wrong."""
    try:
        yield
    except duckdb.Error as error:
        message = str(error).strip()
        if isinstance(error, duckdb.PermissionException) and _names_own_file(con, message):
            # DuckDB tries a file that is not there as a folder, which the lock forbids.
            message = f"a file of the store is not there any more, perhaps merged: ask again ({message})"
            raise StoreError(message) from error
        raise (StoreError if isinstance(error, duckdb.IOException) else fault)(message) from error


def _names_own_file(con: Connection, message: str) -> bool:
    [(allowed,)] = con.execute("SELECT current_setting('allowed_paths')").fetchall()
    return any(f'"{path}' in message for path in allowed)


def _answer(con: Connection, text: str, parameters: Mapping[str, str] | None = None) -> pa.Table:
    relation = con.sql(text, params=dict(parameters)) if parameters else con.sql(text)
    return relation.to_arrow_table()


def _text(name: str) -> str:
    return (files("grid.results") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def _hold(con: Connection, name: str, table: pa.Table) -> None:
    con.register("incoming", table)
    con.execute(f"CREATE TABLE base.{name} AS FROM incoming")
    con.unregister("incoming")


def _read(con: Connection, name: str, schema: pa.Schema, paths: Sequence[str]) -> None:
    """A view over Parquet files with every column of the schema, whether or not any file has it, or any exists."""
    _hold(con, f"no_{name}", schema.empty_table())
    columns = "SELECT *, file_index, file_row_number FROM"
    none = f"(SELECT *, 0::UBIGINT AS file_index, 0::BIGINT AS file_row_number FROM base.no_{name})"  # noqa: S608 - own names
    found = f"UNION ALL BY NAME {columns} read_parquet({_quoted(map(_globbed, paths))}, union_by_name = true)"
    con.execute(f"CREATE VIEW base.{name} AS FROM {none} {found if paths else ''}")


def _slices(slices: Sequence[Slice], shards: Sequence[str]) -> pa.Table:
    index = {path: position for position, path in enumerate(shards)}
    columns = {
        "file_index": pa.array([index[part.path] for part in slices], pa.uint64()),
        "case_id": pa.array([part.case_id for part in slices], pa.string()),
        **{name: pa.array([getattr(part, name) for part in slices], pa.int64()) for name in Slice._fields[2:]},
    }
    return pa.table(columns)


def _named(column: str, files: Sequence[tuple[str, str]]) -> pa.Table:
    """What each file is of: a grid, a cell."""
    index = pa.array(range(len(files)), pa.uint64())
    return pa.table({"file_index": index, column: pa.array([name for name, _ in files], pa.string())})


def _lock(con: Connection, paths: Sequence[str]) -> None:
    # DuckDB checks the pattern it was given as well as the file that the pattern names.
    con.execute(f"SET allowed_paths = {_quoted({*paths, *map(_globbed, paths)})}")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


def _globbed(path: str) -> str:
    """The pattern that matches this path alone: DuckDB takes every path for a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _quoted(texts: Iterable[str]) -> str:
    return "[" + ", ".join("'" + text.replace("'", "''") + "'" for text in texts) + "]"


_READING_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_PURE_TABLE_FUNCTIONS = {"range", "generate_series", "unnest"}


def _refuse_all_but_reading(con: Connection, text: str) -> None:
    """Raise UsageError unless the syntax tree has nothing in it but reading.

    The type of the statement does not tell: a SELECT may hold a COPY in a WITH clause, and an EXPLAIN ANALYZE runs
    what it explains. Table functions are listed because some run SQL that is given to them as text.
    """
    statements = con.extract_statements(text)
    if len(statements) != 1:
        raise UsageError(f"one SQL statement at a time, please: this text has {len(statements)}")
    if statements[0].type == duckdb.StatementType.EXPLAIN:
        text = re.sub(r"^\s*explain(\s+analyze)?\b", "", text, count=1, flags=re.IGNORECASE)
    [(serialised,)] = con.execute("SELECT json_serialize_sql(?)", [text]).fetchall()
    tree = json.loads(serialised)
    if tree["error"] or any(_does_more_than_read(node) for node in _nodes(tree)):
        raise UsageError(
            "only statements that read are allowed: SELECT, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN, "
            f"with no table functions but {', '.join(sorted(_PURE_TABLE_FUNCTIONS))}"
        )


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _nodes(child)


def _does_more_than_read(node: Mapping[str, Any]) -> bool:
    if "cte_map" in node:
        return node["type"] not in _READING_NODES
    if node.get("type") == "TABLE_FUNCTION":
        return node["function"]["function_name"].lower() not in _PURE_TABLE_FUNCTIONS
    return False


def _told_apart(names: Sequence[str]) -> list[str]:
    told: list[str] = []
    for name in names:
        count = 1
        unique = name
        while unique in told:
            unique, count = f"{name}_{count}", count + 1
        told.append(unique)
    return told


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(known) or 'none'}"
