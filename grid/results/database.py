"""DuckDB, and nothing of attackgrid: the only `import duckdb`.

A connection holds tables, reads the Parquet files it is allowed to, and nothing else once it is locked. DuckDB's errors
become those of `grid.errors` here. Knows nothing of stores, of views or of which questions there are.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import TypeAlias

import duckdb
import pyarrow as pa

from grid.errors import GridError, StoreError
from tasks.schema import stood_for

Connection: TypeAlias = duckdb.DuckDBPyConnection
"""An open database in memory; also a context manager that closes itself."""


def new_database() -> Connection:
    """An empty database with the schema `base`; Python's variables are out of its reach, and so is the disk."""
    con = duckdb.connect(config={"python_enable_replacements": False, "temp_directory": ""})
    con.execute("CREATE SCHEMA base")
    return con


def hold(con: Connection, name: str, table: pa.Table) -> None:
    """Copy a table into `base`."""
    con.register("incoming", table)
    con.execute(f"CREATE TABLE base.{name} AS FROM incoming")
    con.unregister("incoming")


def lay_over(con: Connection, name: str, schema: pa.Schema, paths: Sequence[str]) -> None:
    """A view in `base` over Parquet files, with every column of the schema, whether or not any file has it or exists.

    What a file lacks is null, or what it stood for; null is also a column that the schema does not know and only other
    files have.
    `file_index` is the position in `paths`, `file_row_number` the position in the file.
    """
    hold(con, f"no_{name}", schema.empty_table())
    columns = "SELECT *, file_index, file_row_number FROM"
    none = f"(SELECT *, 0::UBIGINT AS file_index, 0::BIGINT AS file_row_number FROM base.no_{name})"  # noqa: S608 - own names
    found = f"UNION ALL BY NAME {columns} read_parquet({_quoted(map(_globbed, paths))}, union_by_name = true)"
    meant = [f"coalesce({f.name}, '{stood_for(f)}') AS {f.name}" for f in schema if stood_for(f)]
    every = f"* REPLACE ({', '.join(meant)})" if meant else "*"
    con.execute(f"CREATE VIEW base.{name} AS SELECT {every} FROM (FROM {none} {found if paths else ''})")  # noqa: S608 - own names


def lock(con: Connection, paths: Iterable[str]) -> None:
    """From now on, these files can be read and nothing else, and no setting can be changed."""
    named = set(paths)
    # DuckDB checks the pattern it was given as well as the file that the pattern names.
    con.execute(f"SET allowed_paths = {_quoted({*named, *map(_globbed, named)})}")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


def answer(con: Connection, text: str, parameters: Mapping[str, str] | None = None) -> pa.Table:
    """The rows of one statement."""
    relation = con.sql(text, params=dict(parameters)) if parameters else con.sql(text)
    return relation.to_arrow_table()


def statement_types(con: Connection, text: str) -> list[str]:
    """What the statements in a text are, in DuckDB's words, such as SELECT or EXPLAIN."""
    return [statement.type.name for statement in con.extract_statements(text)]


def asked_for(con: Connection, text: str) -> set[str]:
    """What the statements in a text ask for by name, as $grid."""
    return {name for statement in con.extract_statements(text) for name in statement.named_parameters}


def sql_text(name: str) -> str:
    """The text of a file of `grid/results/sql`."""
    return (files("grid.results") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


@contextmanager
def explained(con: Connection, fault: type[GridError]) -> Iterator[None]:
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


def _globbed(path: str) -> str:
    """The pattern that matches this path alone: DuckDB takes every path for a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _quoted(texts: Iterable[str]) -> str:
    return "[" + ", ".join("'" + text.replace("'", "''") + "'" for text in texts) + "]"
