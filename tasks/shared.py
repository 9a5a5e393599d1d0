"""What every component of a kind can be asked beside its own parameters: the keyword-only ones of these functions.

`tasks.registry` reads their signatures, as it does those of components. Knows nothing of training.
"""

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from tasks.datasets._generated import read_generated
from tasks.datasets._inside import inside
from tasks.parameters import Count, Share
from tasks.types import DataError, DataRoot, Mix, Shape, Split, TaskError


class Extended(nn.Sequential):
    """A body with what was put around it; features of `width`."""

    def __init__(self, width: int, *parts: nn.Module) -> None:
        super().__init__(*parts)
        self.width = width


class Places:
    """Makes the activation for each place of an architecture that asks for one, and remembers them in order."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        self._make = make
        self.made: list[nn.Module] = []

    def __call__(self) -> nn.Module:
        """A fresh one, for the next place."""
        self.made.append(self._make())
        return self.made[-1]


def mixed(split: Split, root: DataRoot, *, generated: str | None = None, share: Share = 0.0) -> Split:
    """A training split to which generated images belong; any other as it is.

    `generated` is an `.npz` file under the data root, with `image` (count, height, width, channels) in bytes and
    `label` (count,), as Wang et al. (2023, https://arxiv.org/abs/2302.04638) publish the samples of their diffusion
    models. Of each epoch's images, whose number stays that of the split, a `share` is drawn from them. Raises
    DataError.
    """
    if generated is None:
        if share:
            raise DataError("share: says how much of each epoch is generated, but `generated` names no file")
        return split
    images, labels = read_generated(inside(root.path, generated), split.shape, split.num_classes)
    return replace(split, mix=Mix(images, labels, share))


def extended(
    make: Callable[[Shape], nn.Module],
    shape: Shape,
    activation: Callable[[], nn.Module],
    *,
    extra_dense: Count | None = None,
    extra_conv: Count | None = None,
) -> nn.Module:
    """An architecture's body, with a layer more where one is asked for, followed by the cell's activation.

    `extra_dense`: a linear layer of that width before the head; `extra_conv`: a 3x3 convolution to that many channels
    right after the input. They are where the dissertation on capped ReLUs (Sooksatra 2025, chapter 5) has its
    trainable caps.
    """
    before: list[nn.Module] = []
    if extra_conv is not None:
        before = [nn.Conv2d(shape[0], extra_conv, 3, padding=1), activation()]
        shape = (extra_conv, *shape[1:])
    body = make(shape)
    width = int(body.width)  # type: ignore[arg-type] # a module's attributes may be anything
    after: list[nn.Module] = []
    if extra_dense is not None:
        after, width = [nn.Linear(width, extra_dense), activation()], extra_dense
    return Extended(width, *before, body, *after) if before or after else body


def placed(
    body: nn.Module, places: Places, otherwise: Callable[[], nn.Module], *, layers: list[int] | None = None
) -> None:
    """Leave the activation at some places of a body alone, and put another at all others.

    `layers` are numbers of places, in the order in which an image meets them: 1 is the first, -1 the last; none is
    all. The others become relu. Raises TaskError for a place that there is not.
    """
    count = len(places.made)
    if layers is None:
        return
    if wrong := [number for number in layers if not 1 <= abs(number) <= count]:
        raise TaskError(
            f"layers: {wrong} are not among the architecture's {count} activations, 1 to {count} or -1 to -{count}"
        )
    kept = {number - 1 if number > 0 else count + number for number in layers}
    swapped = {id(made): otherwise() for place, made in enumerate(places.made) if place not in kept}
    for parent in list(body.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in swapped:
                setattr(parent, name, swapped[id(child)])
    places.made = [swapped.get(id(made), made) for made in places.made]
