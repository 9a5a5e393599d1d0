"""Small classifiers to try components on, and small images to classify, always the same.

Pixels in [0, 1] and float64 unless said otherwise. Knows nothing of what is tried on them.
"""

from typing import cast

import torch
from torch import Tensor, nn

from tasks import noise
from tasks.types import Images, Scores, Split

SHAPE = (1, 6, 6)
"""Of the images, unless said otherwise."""


class Toy(nn.Module):
    """Images, (batch, *shape), to scores: standardised, then `body`; softmax makes probabilities of them."""

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, mean: float = 0.0, std: float = 1.0, channels: int = 1) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.full((channels, 1, 1), mean))
        self.register_buffer("std", torch.full((channels, 1, 1), std))

    def forward(self, images: Images) -> Scores:
        """(batch, classes)."""
        return cast("Scores", self.body((images - self.mean) / self.std))

    def log_probabilities(self, scores: Scores) -> Tensor:
        """(batch, classes), each row a log-distribution."""
        return scores.log_softmax(1)


class Wavering(Toy):
    """Two classes; each draw adds noise of this spread to the first score."""

    stochastic = True

    def __init__(self, spread: float) -> None:
        layer = nn.Linear(36, 2)
        super().__init__(nn.Sequential(nn.Flatten(), layer))
        with torch.no_grad():
            layer.weight.copy_(torch.randn(2, 36, generator=seeded(2)))
            layer.bias.copy_(-layer.weight.sum(1) / 2)
        self.spread = spread
        self.double()

    def forward(self, images: Images) -> Scores:
        """(batch, 2)."""
        scores = super().forward(images)
        drawn = noise.normal(scores[:, :1])
        return scores + self.spread * torch.cat([drawn, torch.zeros_like(drawn)], 1)


class Capped(nn.Module):
    """max(0, min(x, cap)); below 0 and above the cap it is saturated, between them linear."""

    def __init__(self, cap: float = torch.inf) -> None:
        super().__init__()
        self.cap = cap

    def forward(self, net: Tensor) -> Tensor:
        """Elementwise."""
        return net.clamp(0, self.cap)

    def regimes(self, net: Tensor) -> tuple[Tensor, Tensor]:
        """(linear, saturated), masks of the shape of the net."""
        linear = (net > 0) & (net < self.cap)
        return linear, ~linear


class Deep(Toy):
    """A body with activations."""

    def __init__(self, *layers: nn.Module, channels: int = 1, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__(nn.Sequential(*layers), mean, std, channels)
        self.activations = [layer for layer in layers if not isinstance(layer, nn.Linear | nn.Conv2d | nn.Flatten)]
        self.double()


class Wobbly(Deep):
    """Each draw adds noise to the image."""

    stochastic = True

    def forward(self, images: Images) -> Scores:
        """(batch, classes)."""
        return super().forward(images + 0.1 * noise.normal(images))


def linear(
    num_classes: int = 3,
    *,
    scale: float = 1.0,
    seed: int = 0,
    mean: float = 0.0,
    std: float = 1.0,
    shape: tuple[int, ...] = SHAPE,
    dtype: torch.dtype = torch.float64,
) -> Toy:
    """A linear classifier whose scores are all 0 for a grey image."""
    layer = nn.Linear(torch.Size(shape).numel(), num_classes)
    with torch.no_grad():
        layer.weight.copy_(scale * torch.randn(layer.weight.shape, generator=seeded(seed)))
        layer.bias.copy_(-layer.weight.sum(1) / 2)
    return Toy(nn.Sequential(nn.Flatten(), layer), mean, std, shape[0]).to(dtype)


def conv_net(dtype: torch.dtype = torch.float64, seed: int = 1) -> Toy:
    """Two convolutions, for four classes."""
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(8, 4),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(seed)) / 2)
    return Toy(body, 0.3, 0.4).to(dtype)


def deep_net(
    num_classes: int = 4,
    shape: tuple[int, int, int] = SHAPE,
    kind: type[Deep] = Deep,
    activation: type[nn.Module] = Capped,
) -> Deep:
    """A convolution and two linear layers, with two activations to look at."""
    layers = [
        nn.Conv2d(shape[0], 4, 3, padding=1), activation(), nn.Flatten(),
        nn.Linear(4 * shape[1] * shape[2], 12), activation(), nn.Linear(12, num_classes),
    ]  # fmt: skip
    model = kind(*layers, channels=shape[0], mean=0.3, std=0.4)
    with torch.no_grad():
        for parameter in model.body.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(1)) / 4)
    return model


def seeded(seed: int) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def pixels(count: int, shape: tuple[int, ...] = SHAPE, seed: int = 5, dtype: torch.dtype = torch.float64) -> Images:
    """So many random images."""
    return torch.rand(count, *shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


def patterns(count: int, seed: int) -> Split:
    """So many images, (1, 4, 4) in float32, of three classes: which third of the pixels is bright."""
    labels = torch.arange(count) % 3
    bright = (torch.arange(16).view(4, 4) % 3 == labels[:, None, None]).float()
    drawn = torch.rand(count, 4, 4, generator=seeded(seed))
    return Split((0.1 + 0.6 * bright + 0.3 * drawn)[:, None], labels, ("first", "second", "third"), (0.45,), (0.3,))
