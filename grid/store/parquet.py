"""Tables as Parquet files. Knows nothing of what they hold or where they lie."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

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
