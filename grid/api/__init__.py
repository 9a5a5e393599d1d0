"""attackgrid for people in notebooks and scripts: `import attackgrid as ag`.

    ag.check("quickstart")                                  # cells, cases and samples of a spec
    ag.launch("quickstart", "stores/first", address="inline")
    store = ag.open("stores/first")
    store.table("robust_accuracy")                          # an Arrow table; .to_pandas() where pandas is installed
    store.sql("select head, avg(success::int) from samples group by head")

What is here is what the command line has, and raises the same errors (`ag.GridError` and those below it). The package
is the folder `grid/api`; the console script starts here as well. Nothing is imported before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._own import refuse_others

if TYPE_CHECKING:
    from grid import __version__
    from grid.errors import ClusterError, GridError, MissingError, SpecError, StoreError, UsageError

    from ._face import Outcome, Store, check, launch, open  # noqa: A004 - as one opens a file

_WHERE = {
    **dict.fromkeys(("Outcome", "Store", "check", "launch", "open"), "._face"),
    **dict.fromkeys(
        ("ClusterError", "GridError", "MissingError", "SpecError", "StoreError", "UsageError"), "grid.errors"
    ),
    "__version__": "grid",
}

__all__ = [
    "ClusterError",
    "GridError",
    "MissingError",
    "Outcome",
    "SpecError",
    "Store",
    "StoreError",
    "UsageError",
    "__version__",
    "check",
    "launch",
    "open",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever is asked for
    """One of the names above. Raises ImportError where a module of the user's hides one of attackgrid's."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    refuse_others()
    return getattr(import_module(_WHERE[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
