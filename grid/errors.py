"""What can go wrong, drawn as a tree. Each leaf carries the exit code that the command line ends with.

    GridError                  1  internal
    ├── UsageError             2  the command line asks for something that cannot be
    │   └── SpecError          2  a spec has problems: all of them, each with file, line and key
    ├── MissingError           2  data or packages that a grid needs are not where it would run
    ├── StoreError             4  the store cannot be read or written as it must
    │   ├── StoreVersionError  4  it is in a format of another attackgrid
    │   └── ForeignFileError   4  a file in it is torn, or is not what its name says
    └── ClusterError           2  Ray cannot be reached, or does not have what was asked for

Incomplete work (3), a broken promise (5) and an interruption (130) are outcomes, not errors.
"""

from dataclasses import dataclass


class GridError(Exception):
    """Anything attackgrid says in one message instead of a traceback."""

    exit_code = 1


class UsageError(GridError):
    """The command line asks for something that cannot be."""

    exit_code = 2


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong in a spec: where (`line` is 0 if it has none, as for `--set`), which key, and what."""

    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = ", ".join(filter(None, [f"line {self.line}" if self.line else "", self.key]))
        return f"{where}: {self.message}" if where else self.message


class SpecError(UsageError):
    """A spec has problems; `problems` are all of them, in order of their lines."""

    def __init__(self, path: str, problems: list[Problem]) -> None:
        self.path = path
        self.problems = sorted(problems)
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__("\n".join([f"{path}: {count}", *(f"  {problem}" for problem in self.problems)]))


class MissingError(GridError):
    """Where a grid would run, something that it needs is missing: `lacks` has a line for each."""

    exit_code = 2

    def __init__(self, lacks: list[str]) -> None:
        self.lacks = lacks
        super().__init__("\n  ".join(["nothing was run: something is missing", *lacks]))


class StoreError(GridError):
    """The store cannot be read or written as it must."""

    exit_code = 4


class StoreVersionError(StoreError):
    """The store is in a format that another version of attackgrid reads."""


class ForeignFileError(StoreError):
    """A file in the store is torn, or is not what its name says."""


class ClusterError(GridError):
    """Ray cannot be reached, or does not have what was asked for."""

    exit_code = 2
