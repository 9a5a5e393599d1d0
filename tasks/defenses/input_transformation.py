"""What acquiring an image again would do to it, in front of the model: in training and whenever the model predicts."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from tasks import noise
from tasks.model import Classifier
from tasks.parameters import Positive
from tasks.refusals import refuse
from tasks.registry import component
from tasks.training.objective import Defense
from tasks.types import Images, TaskError

_RANDOM = ("translate", "noise", "crop_resize")


class Transformation(nn.Module):
    """Pixels in [0, 1] to pixels in [0, 1], same shape out as in."""

    def __init__(self, transform: Callable[[Images], Images], *, stochastic: bool) -> None:
        super().__init__()
        self.transform = transform
        self.stochastic = stochastic

    def forward(self, images: Images) -> Images:
        """The transformed images."""
        return self.transform(images)


@component(
    "defense",
    version=1,
    paper="https://arxiv.org/abs/1711.00117",
    stochastic={"kind": ("translate", "noise", "crop_resize")},
    evaluation=("gradient",),
    adds_to_loss=False,
)
def input_transformation(
    *,
    kind: Literal["translate", "noise", "blur", "crop_resize", "binarise", "bit_depth"] = "blur",
    strength: Positive = 1.0,
    gradient: Literal["straight_through", "true"] = "straight_through",
) -> Defense:
    """Transform the images before the model sees them (Guo et al. 2018), in training and at evaluation.

    What `strength` means for each `kind`, with pixels in [0, 1]:

    * translate: each image by whole pixels, drawn evenly from -strength..strength in both directions; black beyond.
    * noise: Gaussian, of standard deviation `strength`, then clipped to [0, 1] as a sensor would.
    * blur: Gaussian, of standard deviation `strength` pixels, its weights renormalised at the edges.
    * crop_resize: a share `strength` of both sides is cut away, at a place drawn for each image evenly, and what is
      left is brought back to size by bilinear interpolation.
    * binarise: pixels above `strength` are 1, others 0.
    * bit_depth: pixels are rounded to `strength` bits (Xu et al. 2018, arXiv 1704.01155).

    Of these Guo et al. have crop_resize and bit_depth, as preprocessing of a trained model as well; the others are the
    acquisition's own. Random kinds draw for each image at each pass, so attacks see the mean over `eot` draws.
    binarise and bit_depth have the gradient zero almost everywhere. With `gradient` "straight_through" they pass it on
    as if they were the identity (BPDA, Athalye et al. 2018, arXiv 1802.00420); with "true" it is zero, the masked
    gradient that gradient attacks fail on and that hides how vulnerable the model is. For the other kinds it is the
    same: their own. Together with another part that is put in front of the model, each is given what the one before it
    made. Raises TaskError for a strength that means nothing for the kind.
    """
    refuse(TaskError, refuses(kind=kind, strength=strength))
    transforms: dict[str, Callable[[Images], Images]] = {
        "translate": partial(_translate, reach=int(strength)),
        "noise": partial(_add_noise, sigma=strength),
        "blur": partial(_blur, sigma=strength),
        "crop_resize": partial(_crop_resize, cut=strength),
        "binarise": partial(_binarise, threshold=strength, gradient=gradient),
        "bit_depth": partial(_bit_depth, bits=int(strength), gradient=gradient),
    }

    def adapt(model: Classifier) -> None:
        model.input = nn.Sequential(model.input, Transformation(transforms[kind], stochastic=kind in _RANDOM))

    return Defense(adapt=adapt)


def refuses(*, kind: str, strength: float) -> Iterator[str]:
    """A strength that means nothing for the kind."""
    right = {
        "translate": ("a whole number of pixels", strength == int(strength)),
        "crop_resize": ("a share below 1 of the side", strength < 1),
        "binarise": ("a threshold below 1", strength < 1),
        "bit_depth": ("a whole number of bits, 1 to 8", strength in range(1, 9)),
    }
    due, is_right = right.get(kind, ("", True))
    if not is_right:
        yield f"input_transformation: strength is {strength}, but for {kind} it is {due}"


def _translate(images: Images, reach: int) -> Images:
    drawn = noise.uniform(images.new_empty(len(images), 2))
    shifts = (drawn * (2 * reach + 1)).floor() - reach
    rows, columns = (_places(images, side) + shifts[:, side, None] for side in (0, 1))
    return _resample(images, rows, columns)


def _add_noise(images: Images, sigma: float) -> Images:
    return (images + sigma * noise.normal(images)).clamp(0, 1)


def _blur(images: Images, sigma: float) -> Images:
    vertical, horizontal = (_gaussian(_places(images, side), sigma) for side in (0, 1))
    return vertical @ images @ horizontal.mT


def _crop_resize(images: Images, cut: float) -> Images:
    starts = cut * noise.uniform(images.new_empty(len(images), 2))
    positions = []
    for side in (0, 1):
        places = _places(images, side)
        size = len(places)
        # Pixel i covers i to i + 1, so its middle is at i + 1/2; beyond the outermost middles the edge goes on.
        middles = starts[:, side, None] * size + (places + 0.5) * (1 - cut) - 0.5
        positions.append(middles.clamp(0, size - 1))
    return _resample(images, *positions)


def _binarise(images: Images, threshold: float, gradient: str) -> Images:
    return _quantised((images.detach() > threshold).to(images.dtype), images, gradient)


def _bit_depth(images: Images, bits: int, gradient: str) -> Images:
    levels = 2**bits - 1
    return _quantised((images.detach() * levels).round() / levels, images, gradient)


def _quantised(values: Images, images: Images, gradient: str) -> Images:
    """`values`, to the bit, with the gradient in `images` one or zero."""
    return values + (images - images.detach() if gradient == "straight_through" else 0 * images)


def _places(images: Images, side: int) -> Tensor:
    """0, 1, 2, ... along the height (side 0) or the width (side 1)."""
    return torch.arange(images.shape[2 + side], dtype=images.dtype, device=images.device)


def _gaussian(places: Tensor, sigma: float) -> Tensor:
    """(size, size): row i holds the weights with which the pixels make the blurred pixel i; they sum to 1."""
    return ((places[:, None] - places).square() / (-2 * sigma**2)).softmax(1)


def _resample(images: Images, rows: Tensor, columns: Tensor) -> Images:
    """Each image at the positions `rows` x `columns`, (batch, height) and (batch, width), by bilinear interpolation.

    Positions are in pixels from the middle of the first; beyond the edges all is black. It is written as two matrix
    products because the gradient of torch's `grid_sample` adds up in no fixed order on a GPU.
    """
    vertical, horizontal = (
        (1 - (positions[:, None, :, None] - _places(images, side)).abs()).clamp(min=0)
        for side, positions in ((0, rows), (1, columns))
    )
    return vertical @ images @ horizontal.mT
