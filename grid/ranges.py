"""Arithmetic of sample positions. A range is (start, stop), stop exclusive. Pure, and the whole of resuming."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Range(NamedTuple):
    """Positions `start` to `stop`, exclusive, in a case's sample order."""

    start: int
    stop: int


class Slice(NamedTuple):
    """The part of a stored range that counts: `take` positions after the first `skip` of `stored`."""

    stored: Range
    skip: int
    take: int


def cover(stored: Iterable[Range]) -> list[Slice]:
    """Take every stored position exactly once, from as few ranges as the order by start allows.

    Ranges may overlap: two workers may have done the same work, and a merged file stands beside its parts for a
    moment. Of ranges with the same start the longest is taken.
    """
    slices = []
    reached = 0
    for found in sorted(stored, key=lambda r: (r.start, -r.stop)):
        if found.stop > reached:
            skip = max(0, reached - found.start)
            slices.append(Slice(found, skip, found.stop - found.start - skip))
            reached = found.stop
    return slices


def subtract(wanted: int, stored: Iterable[Range]) -> list[Range]:
    """The positions of [0, wanted) that no stored range has."""
    missing = []
    reached = 0
    for found, skip, take in cover(stored):
        start = found.start + skip
        if start >= wanted:
            break
        if start > reached:
            missing.append(Range(reached, start))
        reached = start + take
    if reached < wanted:
        missing.append(Range(reached, wanted))
    return missing


def cut(missing: Iterable[Range], size: int) -> Iterator[Range]:
    """Cut into shards of at most `size`, at multiples of it: so a resumed run cuts where the first one did."""
    for start, stop in missing:
        edges = [start, *range((start // size + 1) * size, stop, size), stop]
        yield from map(Range, edges, edges[1:])


def num_shards(missing: Iterable[Range], size: int) -> int:
    """How many shards `cut` makes."""
    return sum((r.stop - 1) // size - r.start // size + 1 for r in missing)
