"""A network of parallel convolutions of several sizes; torchvision's, made a body."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn
from torchvision.models import Inception_V3_Weights, inception

from tasks.architectures._fitting import lone_values, unfit_images, unfit_weights
from tasks.architectures._torchvision import load_imagenet, replace_activations
from tasks.parameters import Rate
from tasks.refusals import refuse
from tasks.registry import component
from tasks.types import Shape

_BLOCKS = (
    *(inception.InceptionA, inception.InceptionB, inception.InceptionC),
    *(inception.InceptionD, inception.InceptionE, inception.InceptionAux),
)
_AFTER_THE_FIRST = ("Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2")


class Convolution(inception.BasicConv2d):  # type: ignore[misc] # torchvision is untyped
    """A convolution, batch normalisation (its eps 0.001), and an activation that is a module, not a function."""

    def __init__(self, *channels: int, **more: Any) -> None:  # noqa: ANN401 - a convolution's
        super().__init__(*channels, **more)
        self.activation = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, height, width) to the same, with the channels and the stride of the convolution."""
        return self.activation(self.bn(self.conv(features)))  # type: ignore[no-any-return] # torchvision is untyped


class InceptionV3(inception.Inception3):  # type: ignore[misc] # torchvision is untyped
    """Eleven blocks, the mean over what is left of the image, and dropout. There is no auxiliary classifier."""

    width = 2048

    def __init__(self, activation: Callable[[], nn.Module], stem: str, dropout: float) -> None:
        blocks = [Convolution, *(partial(block, conv_block=Convolution) for block in _BLOCKS)]
        super().__init__(
            num_classes=1, aux_logits=False, inception_blocks=blocks, init_weights=stem == "imagenet", dropout=dropout
        )
        if stem == "cifar":
            self.Conv2d_1a_3x3 = Convolution(3, 192, kernel_size=3, padding=1)
            for name in _AFTER_THE_FIRST:
                setattr(self, name, nn.Identity())
        self.fc = nn.Identity()
        replace_activations(self, nn.ReLU, activation)


@component("architecture", version=1, paper="https://arxiv.org/abs/1512.00567")
def inception_v3(
    shape: Shape,
    activation: Callable[[], nn.Module],
    *,
    stem: Literal["cifar", "imagenet"] = "cifar",
    dropout: Rate = 0.5,
    pretrained: bool = False,
) -> nn.Module:
    """InceptionV3: (batch, 3, height, width) -> (batch, 2048).

    The stem "cifar" is a single 3x3 convolution to 192 channels, stride 1, instead of five and two poolings: sides go
    32-32-15-7. Its weights start as torch's convolutions do, as in the study of Alvarez Cabrera (2020); those of the
    stem "imagenet" as torchvision's. The auxiliary classifier is left out: it has a loss of its own, and scores
    nothing. `pretrained` and the errors are those of `resnet50`, but for the sides: 16 and, stem "imagenet", 75.
    """
    refuse(ValueError, refuses(stem=stem, shape=shape))
    body = InceptionV3(activation, stem, dropout)
    if pretrained:
        load_imagenet(body, Inception_V3_Weights.IMAGENET1K_V1, stem)
        # These weights are for images standardised by 0.5 and 0.5: torchvision restandardises ImageNet's for them.
        body.transform_input = True
    return body


def refuses(
    *,
    stem: str,
    pretrained: bool = False,
    shape: Shape | None = None,
    activation: Any = None,  # noqa: ANN401 - a `tasks.refusals.Part`
    training: Any = None,  # noqa: ANN401 - as above
    inputs: str = "standardised",
    initialisation: str = "torch",
    train_samples: int | None = None,
) -> Iterator[str]:
    """Images without colour or too small, weights that do not fit, and a batch of too little to normalise."""
    yield from unfit_images("inception_v3", shape, 16 if stem == "cifar" else 75)
    yield from unfit_weights(stem, activation, inputs, initialisation) if pretrained else ()
    yield from lone_values((_last_side(side, stem) for side in shape[1:]), training, train_samples) if shape else ()


def _last_side(side: int, stem: str) -> int:
    """What is left of a side in the last blocks: convolutions without padding take a pixel of either end."""
    if stem == "imagenet":
        side = (side - 1) // 2 - 2
        side = (side - 1) // 2 - 2
        side = (side - 1) // 2
    return ((side - 1) // 2 - 1) // 2


def widths(*, stem: str) -> list[int]:
    """Channels at each activation."""
    found = [192] if stem == "cifar" else [32, 32, 64, 80, 192]
    for pooled in (32, 64, 64):
        found += [64, 48, 64, 64, 96, 96, pooled]
    found += [384, 64, 96, 96]
    for inner in (128, 160, 160, 192):
        found += [192, inner, inner, 192, *[inner] * 4, 192, 192]
    found += [192, 320, *[192] * 4]
    return found + [320, 384, 384, 384, 448, 384, 384, 384, 192] * 2
