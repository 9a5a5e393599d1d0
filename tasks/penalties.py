"""Whether penalties that depend on images are counted while a model evaluates.

A layer with such a penalty counts it in each pass of a training. A model that is only asked, as by an attack, asks many
times, and would count for nothing; but what callbacks watch is the penalty of a model that evaluates.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_counted: ContextVar[bool] = ContextVar("counted", default=False)


def are_counted() -> bool:
    """Whether a layer in evaluation mode is to count its penalty."""
    return _counted.get()


@contextmanager
def counted(*, whether: bool = True) -> Iterator[None]:
    """Inside, layers in evaluation mode count their penalties, or do not."""
    token = _counted.set(whether)
    try:
        yield
    finally:
        _counted.reset(token)
