"""Folders and files that a spec names: always inside the data root."""

from pathlib import Path

from tasks.data import outside
from tasks.refusals import refuse
from tasks.types import DataError


def inside(root: Path, folder: str) -> Path:
    """The folder under the root; by its name alone, since links that the user made may lead anywhere.

    Raises DataError where the name leads out of the root.
    """
    refuse(DataError, outside(folder))
    return root / folder
