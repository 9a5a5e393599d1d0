"""Facts as JSON files. Knows nothing of what they say or where they lie."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from grid.errors import ForeignFileError
from grid.store.files import Files


def packed_record(facts: Mapping[str, object]) -> bytes:
    """Facts as a JSON file that people can read."""
    return json.dumps(facts, indent=1).encode()


def read_record(files: Files, path: str) -> dict[str, Any] | None:
    """The facts of a file; None if it is not there, or torn."""
    try:
        facts: dict[str, Any] = json.loads(files.read(path))
    except (FileNotFoundError, ValueError):
        return None
    return facts


def read_records(files: Files, paths: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The facts of every file that is there. Raises ForeignFileError if one is torn."""
    for path in paths:
        try:
            yield json.loads(files.read(path))
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise ForeignFileError(f"{files.absolute(path)}: not JSON: {error}. Remove it.") from error
