"""Which promise a toy breaks; a toy that is marked with none keeps them all."""

from collections import defaultdict

TOYS = defaultdict(list)
"""Of each promise, (kind, promise) with "" for none: the toys that break it, as `package.module:name`."""


def breaks(promise):
    """Mark a component: this is the first promise that it breaks. Its docstring says how."""

    def mark(function):
        TOYS[function.component["kind"], promise].append(f"{function.__module__}:{function.__name__}")
        return function

    return mark


def keeps(function):
    """Mark a component that keeps every promise."""
    return breaks("")(function)
