"""Tables as Parquet files: the only module of grid that reads and writes them. Knows nothing of what they hold.

A file may be of another version: a column that was added after it is null, one that this version does not know is kept.
One that was always there and is missing is damage.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq  # noqa: TID251 - the door

from grid.errors import ForeignFileError
from grid.store.files import Files
from tasks.schema import is_added_later

_SMALL = 2_000


class Footer(NamedTuple):
    """What is known of a file without reading its rows: `seal` is its metadata."""

    seal: Mapping[bytes, bytes]
    num_rows: int
    columns: Sequence[str]


def packed(table: pa.Table, seal: Mapping[bytes, str] | None = None) -> bytes:
    """A table as a Parquet file, with `seal` as its metadata. Packing a small one would be most of a commit's cost."""
    small = len(table) < _SMALL
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema.remove_metadata(),
        compression="snappy" if small else "zstd",
        use_dictionary=not small,
        write_statistics=not small,
        store_schema=False,
    ) as writer:
        writer.write_table(table.replace_schema_metadata())
        if seal:
            writer.add_key_value_metadata(dict(seal))
    return bytes(sink.getvalue())


def lacking(columns: Collection[str], schema: pa.Schema) -> str:
    """What is wrong with a table of these columns, in words: those it lacks that were always there; else nothing."""
    absent = set(schema.names).difference(columns)
    missing = [name for name in schema.names if name in absent and not is_added_later(schema.field(name))]
    return f"no column {', '.join(map(repr, missing))}" if missing else ""


def filled(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of the schema, null where they were added later than the rows, then those that it does not know.

    Raises pa.ArrowKeyError where a column is missing that was always there.
    """
    if wrong := lacking(rows.column_names, schema):
        raise pa.ArrowKeyError(wrong)
    there = set(rows.column_names)
    known = [rows[f.name].cast(f.type) if f.name in there else pa.nulls(len(rows), f.type) for f in schema]
    unknown = [field for field in rows.schema if field.name not in schema.names]
    columns = [*known, *(rows[field.name] for field in unknown)]
    return pa.Table.from_arrays(columns, schema=pa.schema([*schema, *unknown]))


def read_rows(files: Files, path: str, schema: pa.Schema) -> pa.Table:
    """The whole table of a file, `filled`. Raises OSError or pa.ArrowException where it is not there, or damaged."""
    with files.open(path) as stream:
        return filled(pq.ParquetFile(stream).read(use_threads=False), schema)  # threads cost more than a small file


def read_columns(
    files: Files, path: str, schema: pa.Schema, columns: Sequence[str], repeated: Sequence[str] = ()
) -> pa.Table:
    """Some columns of a file, which may be large; those `repeated` hold each of their values once.

    Raises as `read_rows`.
    """
    asked = pa.schema([schema.field(name) for name in columns])
    with files.open(path) as stream:
        file = pq.ParquetFile(stream, read_dictionary=list(repeated))
        there = set(file.schema_arrow.names)
        if wrong := lacking(there, asked):
            raise pa.ArrowKeyError(wrong)
        rows = file.read(columns=[name for name in columns if name in there])
    for field in asked:
        if field.name not in there:
            rows = rows.append_column(field, pa.nulls(len(rows), field.type))
    return rows.select(list(columns))


@contextmanager
def damage_named(files: Files, path: str, remedy: str) -> Iterator[None]:
    """Turn what the functions here raise of a file into a ForeignFileError that says which file, why and what to do."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        why = "not there" if isinstance(error, FileNotFoundError) else f"torn, or no table of attackgrid's: {error}"
        raise ForeignFileError(f"{files.absolute(path)}: {why}. {remedy}") from error


def read_footer(files: Files, path: str) -> Footer:
    """The end of a file. Raises OSError or pa.ArrowException where there is none."""
    with files.open(path) as stream:
        footer = pq.ParquetFile(stream).metadata
        return Footer(footer.metadata or {}, int(footer.num_rows), footer.schema.names)


def local_path(files: Files, path: str, schema: pa.Schema) -> str:
    """The file as a local one, for others to read. Raises as `read_rows`."""
    local = files.here(path)
    if wrong := lacking(pq.read_metadata(local).schema.names, schema):
        raise pa.ArrowKeyError(wrong)
    return local
