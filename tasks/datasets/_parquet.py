"""Parquet files with an image column and a label column, as the Hugging Face hub keeps image datasets.

A split is `<split>.parquet`, or `<split>-00000-of-00002.parquet` and so on, in the order of their numbers. Images are
encoded files: bytes, or struct(bytes, path). Knows nothing of classes, of means or of where a data root is.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq  # noqa: TID251 - the files that datasets come in, not those of a store

from tasks.datasets._pictures import Decoding, Pixels, decode
from tasks.types import DataError


def find_files(folder: Path, split: str) -> list[Path]:
    """The files of a split, in order. Raises DataError where there is none, one is missing, or there are two sets."""
    pattern = re.compile(rf"{split}(?:-(\d+)-of-(\d+)(?:-[0-9a-f]+)?)?\.parquet")
    try:
        matches = [match for path in sorted(folder.iterdir()) if (match := pattern.fullmatch(path.name))]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror or error}") from error
    if not matches:
        raise DataError(f"{folder}: holds neither {split}.parquet nor {split}-00000-of-....parquet")
    parts = [(match[1] and int(match[1]), match[2] and int(match[2])) for match in matches]
    if parts not in ([(None, None)], [(number, len(parts)) for number in range(len(parts))]):
        raise DataError(f"{folder}: not one whole {split} split: {', '.join(match.string for match in matches)}")
    return [folder / match.string for match in matches]


def read_labels(paths: list[Path], column: str) -> list[Any]:
    """The labels in the order of the files: all integers, or all text."""
    found: list[Any] = []
    for path in paths:
        with _opened(path, column) as file:
            labels = file.read(columns=[column]).column(column)
        kind = labels.type.value_type if pa.types.is_dictionary(labels.type) else labels.type
        if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise DataError(f"{path}: column {column!r} holds {kind}: labels are integers or text")
        values = labels.to_pylist()
        if None in values:
            raise DataError(f"{path}: row {values.index(None)} has no {column!r}")
        found += values
    if len({type(label) for label in found}) > 1:
        raise DataError(f"{paths[0].parent}: column {column!r} is text in one file and integers in another")
    return found


def read_class_names(paths: list[Path], column: str) -> tuple[str, ...]:
    """The names of labels 0, 1, ... that the first file's Hugging Face schema gives; empty where it gives none."""
    with _opened(paths[0], column) as file:
        metadata = file.schema_arrow.metadata or {}
    try:
        names = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()


def read_images(paths: list[Path], column: str, decoding: Decoding) -> Pixels:
    """The decoded images in the order of the files. Raises DataError at the first that cannot be, or that differs."""
    count = sum(_num_rows(path, column) for path in paths)
    images: Pixels | None = None
    read = 0
    for where, encoded in _encoded(paths, column):
        pixels = decode(encoded, decoding, where)
        if images is None:
            images = np.empty((count, *pixels.shape), dtype=np.uint8)
        if pixels.shape != images.shape[1:]:
            raise DataError(
                f"{where}: the image has shape {pixels.shape}, but those before it {images.shape[1:]}: "
                "all must be alike (the parameters mode, size and crop make them so)"
            )
        if read < count:
            images[read] = pixels
        read += 1
    if images is None or read != count:
        names = ", ".join(path.name for path in paths)
        wrong = f"{count} rows are promised, and {read} are there" if count else "no rows"
        raise DataError(f"{paths[0].parent}: {names}: {wrong}")
    return images


@contextmanager
def _opened(path: Path, column: str) -> Iterator[pq.ParquetFile]:
    """The file, which has the column. Whatever Arrow finds wrong with it inside is a DataError."""
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if column not in names:
                raise DataError(f"{path}: no column {column!r}. There are: {', '.join(map(repr, names))}")
            yield file
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a whole Parquet file: {_first_line(error)}") from error


def _num_rows(path: Path, column: str) -> int:
    with _opened(path, column) as file:
        return int(file.metadata.num_rows)


def _encoded(paths: list[Path], column: str) -> Iterator[tuple[str, bytes]]:
    """Each image's place, in words, and its bytes."""
    for path in paths:
        row = 0
        with _opened(path, column) as file:
            for batch in file.iter_batches(columns=[column]):
                for encoded in _bytes(batch.column(0), f"{path}: column {column!r}"):
                    where = f"{path}: row {row}"
                    if encoded is None:
                        raise DataError(f"{where} has no image bytes")
                    yield where, encoded
                    row += 1


def _bytes(array: pa.Array, where: str) -> list[bytes | None]:
    if pa.types.is_struct(array.type) and array.type.get_field_index("bytes") >= 0:
        # `field` would give the bytes of null structs too.
        array = array.flatten()[array.type.get_field_index("bytes")]
    if not (pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type)):
        raise DataError(f"{where} holds {array.type}: images are binary, or struct<bytes: binary, path: string>")
    return cast("list[bytes | None]", array.to_pylist())


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
