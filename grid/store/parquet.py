"""Tables as Parquet files: the only module of grid that reads and writes them. Knows nothing of what they hold."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq  # noqa: TID251 - the door

from grid.store.files import Files

_SMALL = 2_000


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


def read_rows(files: Files, path: str) -> pa.Table:
    """The whole table of a file. Raises OSError or pa.ArrowException where there is none."""
    with files.open(path) as stream:
        return pq.ParquetFile(stream).read(use_threads=False)  # threads cost more than a small file


def read_columns(files: Files, path: str, columns: Sequence[str], repeated: Sequence[str] = ()) -> pa.Table:
    """Some columns of a file, which may be large; those `repeated` hold each of their values once.

    Raises as `read_rows`, also where a column is missing.
    """
    with files.open(path) as stream:
        return pq.read_table(stream, columns=list(columns), read_dictionary=list(repeated))


def read_footer(files: Files, path: str) -> tuple[Mapping[bytes, bytes], int]:
    """What a file is sealed with, and how many rows it has. Raises as `read_rows`."""
    with files.open(path) as stream:
        footer = pq.ParquetFile(stream).metadata
        return footer.metadata or {}, int(footer.num_rows)
