"""The defaults of components, as their types spell them: what an id has where a spec says nothing."""

import functools
from collections.abc import Mapping

from grid.values import accept
from tasks import registry
from tasks.config import Json
from tasks.registry import REQUIRED


@functools.cache
def defaults(kind: str, name: str) -> Mapping[str, Json]:
    """A component's defaults, each as its type spells it. Raises ComponentSourceError where one is not of its type."""
    found = {}
    description = registry.describe(kind, name)
    for parameter, declared in description.parameters.items():
        if declared.default is not REQUIRED:
            try:
                found[parameter] = accept(declared.type, declared.default)
            except ValueError as error:
                message = f"{description.origin}: the default of {parameter!r} {error}"
                raise registry.ComponentSourceError(message) from error
    return found
