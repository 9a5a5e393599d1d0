"""Whether `grid` and `tasks` are attackgrid's own: both are words that people call their files by."""

import importlib.util
from pathlib import Path

_MARKS = {"grid": "ranges.py", "tasks": "registry.py"}
"""A file that only our package of that name has."""


class HiddenError(ImportError):
    """A module of the user's hides one of attackgrid's packages."""


def refuse_others() -> None:
    """Raise HiddenError, naming the file, where `grid` or `tasks` is something else's."""
    for name, mark in _MARKS.items():
        found = importlib.util.find_spec(name)
        places = list(found.submodule_search_locations or ()) if found else []
        if not any((Path(place) / mark).is_file() for place in places):
            what = found.origin or places if found else "nothing"
            raise HiddenError(
                f"attackgrid has a package named {name!r}, but Python finds {what} under that name: rename it, or "
                f"start from another folder (and look at PYTHONPATH)"
            )
