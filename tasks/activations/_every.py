"""What every activation can be asked beside its own parameters: the keyword-only ones of `placed`.

`tasks.registry` reads its signature, as it does those of components. Knows nothing of what an architecture computes.
"""

from collections.abc import Callable, Iterator, Sequence

from torch import nn

from tasks.places import beyond_places, chosen_places
from tasks.refusals import refuse
from tasks.registry import every
from tasks.types import TaskError


class Places:
    """Makes the activation for each place of an architecture that asks for one, and remembers them in order."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        self._make = make
        self.made: list[nn.Module] = []

    def __call__(self) -> nn.Module:
        """A fresh one, for the next place."""
        self.made.append(self._make())
        return self.made[-1]


@every("activation")
def placed(
    body: nn.Module, places: Places, otherwise: Callable[[], nn.Module], *, layers: list[int] | None = None
) -> None:
    """Leave the activation at some places of a body alone, and put another at all others.

    `layers` are numbers of places, in the order in which an image meets them: 1 is the first, -1 the last; none is
    all. The others become relu. Raises TaskError for a place that there is not.
    """
    if layers is None:
        return
    refuse(TaskError, refuses(layers=layers, widths=places.made))
    kept = chosen_places(layers, len(places.made))
    swapped = {id(made): otherwise() for place, made in enumerate(places.made, 1) if place not in kept}
    for parent in list(body.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in swapped:
                setattr(parent, name, swapped[id(child)])
    places.made = [swapped.get(id(made), made) for made in places.made]


def refuses(*, layers: Sequence[int] | None, widths: Sequence[object]) -> Iterator[str]:
    """Numbers of places that the architecture does not have; `widths` has an item for each place."""
    yield from beyond_places(layers, len(widths), "architecture")
