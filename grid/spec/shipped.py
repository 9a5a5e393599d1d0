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


def path_named(name: str) -> Path:
    """The file of one of them."""
    return folder() / f"{name}.yaml"


def path_of(spec: str) -> Path:
    """The file that a user means: the one of that path, or the shipped one of that name.

    Raises UsageError where a bare name is neither.
    """
    path = Path(spec)
    is_there = path.exists() and not path.is_dir()  # a folder of that name, such as a store, is no spec
    if is_there or path.suffix or len(path.parts) > 1:
        return path
    if spec in names():
        return path_named(spec)
    raise UsageError(
        f"{spec}: no such file, and no spec of that name is shipped.{did_you_mean(spec, names())} Shipped: "
        f"{', '.join(names())}"
    )
