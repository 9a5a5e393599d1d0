"""The specs that come with attackgrid: by name, wherever it is installed. Knows where they lie, not what they say."""

from pathlib import Path

from grid.errors import UsageError
from tasks.words import did_you_mean

_HERE = Path(__file__).parents[2]


def folder() -> Path:
    """Where they lie: in the package `attackgrid`, or in the checkout."""
    packaged = _HERE / "attackgrid" / "specs"
    return packaged if packaged.is_dir() else _HERE / "specs"


def names() -> list[str]:
    """Their names, sorted."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def path_of(spec: str) -> Path:
    """The file that a user means: the one of that path, or the shipped one of that name.

    Raises UsageError where a bare name is neither.
    """
    path = Path(spec)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    if spec in names():
        return folder() / f"{spec}.yaml"
    raise UsageError(
        f"{spec}: no such file, and no spec of that name is shipped.{did_you_mean(spec, names())} Shipped: "
        f"{', '.join(names())}"
    )
