"""Numbers of places: of the activations of an architecture, 1 is the first and -1 the last. Knows nothing of torch."""

from collections.abc import Iterator, Sequence


def beyond_places(layers: Sequence[int] | None, count: int, whose: str) -> Iterator[str]:
    """Why numbers are not all among those of so many places."""
    if wrong := [number for number in layers or () if not 1 <= abs(number) <= count]:
        yield f"layers: {wrong} are not among the {whose}'s {count} activations, 1 to {count} or -1 to -{count}"


def chosen_places(layers: Sequence[int] | None, count: int) -> list[int]:
    """The numbers of some of so many places, in order, each once and counted from 1; none is all."""
    found = range(1, count + 1) if layers is None else layers
    return sorted({number if number > 0 else count + 1 + number for number in found if 1 <= abs(number) <= count})
