"""Every promise of every kind, and what came of asking a component to keep them."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tasks.contracts.subject import BrokenPromiseError, Subject, UnaskedError
from tasks.sources import RAISED

Promise: TypeAlias = Callable[[Subject], None]
"""Raises BrokenPromiseError, or whatever the component raises, where it is not kept. Its docstring is the promise."""


@dataclass(frozen=True)
class Verdict:
    """What came of a promise, and why, if it was not kept."""

    promise: str
    words: str
    outcome: Literal["kept", "broken", "skipped"]
    why: str = ""


def promises(kind: str) -> tuple[Promise, ...]:
    """What the components of a kind promise, in the order in which it is asked."""
    found: tuple[Promise, ...] = importlib.import_module(f"tasks.contracts.{kind}").PROMISES
    return found


def words(promise: Promise) -> str:
    """A promise in a sentence."""
    return (promise.__doc__ or "").strip()


def examine(subject: Subject) -> Iterator[Verdict]:
    """Ask a component to keep each of its promises, in turn."""
    for promise in promises(subject.kind):
        yield asked(promise, subject)


def asked(promise: Promise, subject: Subject) -> Verdict:
    """Ask it to keep one. Whatever it raises breaks the promise."""
    name, said = promise.__name__, words(promise)
    try:
        promise(subject)
    except UnaskedError as error:
        return Verdict(name, said, "skipped", str(error))
    except BrokenPromiseError as error:
        return Verdict(name, said, "broken", str(error))
    except RAISED as error:
        return Verdict(name, said, "broken", f"{type(error).__name__}: {error}".strip())
    return Verdict(name, said, "kept")
