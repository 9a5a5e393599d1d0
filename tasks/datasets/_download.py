"""A place aside for a download, so that a worker beside this one never reads half a file."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from http.client import HTTPException
from pathlib import Path

from tasks.types import DataError


@contextmanager
def downloading(dataset: str, root: Path) -> Iterator[Path]:
    """A new folder on the disk of the root, gone afterwards; what is fetched there is to be moved into place.

    What is printed meanwhile goes to stderr. Whatever goes wrong is a DataError.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as aside, redirect_stdout(sys.stderr):
            yield Path(aside)
    except (RuntimeError, OSError, ValueError, HTTPException) as error:
        raise DataError(f"{dataset}: the download into {root} failed: {str(error).strip()}") from error


def move(names: list[str], aside: Path, root: Path) -> None:
    """Put fetched files, named as below the root, into place; each at once."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (aside / name).replace(root / name)
