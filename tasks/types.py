"""Shapes, types and ranges, said once. Every other module names these instead of repeating them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from torch import Tensor

Images: TypeAlias = Tensor
"""(batch, channels, height, width); pixels in [0, 1]; float32, or float64 where the model is float64."""
Labels: TypeAlias = Tensor
"""(batch,), int64, class indices from 0."""
Scores: TypeAlias = Tensor
"""(batch, classes): what a head returns; its argmax is the prediction. Softmax logits only for the softmax head."""
Steps: TypeAlias = Tensor
"""(batch,), int64: updates an attack made on each image."""
Rows: TypeAlias = Tensor
"""(active,), int64: positions in the batch an attack was given."""
Columns: TypeAlias = dict[str, Tensor]
"""Names, and for each a tensor with a row for each sample."""
Shape: TypeAlias = tuple[int, int, int]
"""(channels, height, width) of one image."""


@dataclass(frozen=True)
class DataRoot:
    """Where datasets lie on this machine, and whether a missing one may be downloaded into it."""

    path: Path
    download: bool = False


@dataclass(frozen=True)
class Mix:
    """Generated images that are trained on beside a split's own: `share` of each epoch is drawn from them.

    `images`: uint8 in 0..255, (count, channels, height, width); `labels`: int64, (count,).
    """

    images: Tensor
    labels: Labels
    share: float


@dataclass(frozen=True)
class Split:
    """One split of a dataset, whole, in memory, in an order that is fixed for ever.

    `images`: uint8 in 0..255 or float32 in [0, 1], (count, channels, height, width). `labels`: int64, (count,).
    `mean`, `std`: per channel, in units of [0, 1] pixels; what (pixel - mean) / std means for this dataset.
    """

    images: Tensor
    labels: Labels
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mix: Mix | None = None

    @property
    def shape(self) -> Shape:
        """Of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        """How many classes, whether or not each occurs in this split."""
        return len(self.class_names)


@dataclass(frozen=True)
class Prepared:
    """What the `prepare` step of an attack made, once for all samples.

    `state`: the tensors that the attack is given, kept as safetensors. `facts`: numbers for the reader, such as the
    fooling rate on the images it was made from.
    """

    state: dict[str, Tensor]
    facts: dict[str, float]


@dataclass(frozen=True)
class Measure:
    """One quantity that a probe found, for every image of a batch: a number each, or one for each of some elements.

    `values`: (batch,) or (batch, elements), such as one for each pixel; NaN where there is none. `layer` says where in
    the model, if that is not the whole.
    """

    name: str
    values: Tensor
    layer: str | None = None


class TaskError(Exception):
    """A task cannot be done, for a reason that its user can understand: the message says what and where."""


class StateError(TaskError):
    """The state of an unfinished training is torn, or of another one: it has to begin anew."""


class DataError(TaskError):
    """A dataset is missing, torn or not what it should be."""


class ModelError(TaskError):
    """A model is not what it should be, or returned something that is no score: NaN, infinity or a wrong shape."""


class AttackError(TaskError):
    """An attack broke its contract: wrong shape, out of the box, over its budget, or changed the model."""
