"""All toys, by the promise that they break."""

import functools
import importlib
from pathlib import Path

from broken.mark import TOYS


@functools.cache
def toys():
    """Of each (kind, promise), "" for the toys that keep all, their names."""
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        importlib.import_module(f"broken.{path.stem}")
    return TOYS
