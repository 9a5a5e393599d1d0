"""Folders and files that a spec names: always inside the data root."""

from pathlib import Path, PureWindowsPath

from tasks.types import DataError


def inside(root: Path, folder: str) -> Path:
    """The folder under the root; by its name alone, since links that the user made may lead anywhere.

    Raises DataError where the name leads out of the root.
    """
    named = PureWindowsPath(folder)  # knows both kinds of slashes
    if named.anchor or ".." in named.parts or "\0" in folder:
        raise DataError(f"{folder!r} is not inside the data root: give a relative path without '..'")
    return root / folder
