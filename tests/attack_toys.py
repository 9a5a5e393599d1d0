"""Toy classifiers whose answers are known, and attacks that break their contract in one way each."""

import torch
from torch import nn

from tasks import noise as noise_source
from tasks import registry
from tasks.cases import Attack, Budget, Case
from tasks.config import Cell, Component
from tasks.judge import attack_samples
from tasks.registry import component

SHAPE = (1, 6, 6)
CALLS: list[int] = []
"""Batch sizes that `hungry` was called with."""


class Toy(nn.Module):
    """Pixels in [0, 1] -> scores, with a softmax head."""

    def __init__(self, body: nn.Module, mean: float = 0.0, std: float = 1.0, channels: int = 1) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.full((channels, 1, 1), mean))
        self.register_buffer("std", torch.full((channels, 1, 1), std))

    def forward(self, images):
        return self.body((images - self.mean) / self.std)

    def log_probabilities(self, scores):
        return scores.log_softmax(1)


def linear(num_classes=3, *, scale=1.0, seed=0, mean=0.0, std=1.0, shape=SHAPE, dtype=torch.float64) -> Toy:
    layer = nn.Linear(torch.Size(shape).numel(), num_classes)
    with torch.no_grad():
        layer.weight.copy_(scale * torch.randn(layer.weight.shape, generator=seeded(seed)))
        layer.bias.copy_(-layer.weight.sum(1) / 2)
    return Toy(nn.Sequential(nn.Flatten(), layer), mean, std, shape[0]).to(dtype)


def conv_net(dtype=torch.float64, seed=1) -> Toy:
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(8, 4),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(seed)) / 2)
    return Toy(body, 0.3, 0.4).to(dtype)


class Quadratic(Toy):
    """Class 1 outside a ball around 0.5, class 0 inside."""

    def __init__(self, radius: float) -> None:
        super().__init__(nn.Flatten())
        self.radius = radius
        self.anchor = nn.Parameter(torch.tensor(0.5))
        self.double()

    def forward(self, images):
        distance = (images.flatten(1) - self.anchor).square().sum(1)
        return torch.stack([torch.full_like(distance, self.radius**2), distance], dim=1)


class Wavering(Toy):
    """Two classes; each draw adds noise to the first score."""

    stochastic = True

    def __init__(self, spread: float) -> None:
        super().__init__(nn.Sequential(nn.Flatten(), nn.Linear(36, 2)))
        with torch.no_grad():
            self.body[1].weight.copy_(torch.randn(2, 36, generator=seeded(2)))
            self.body[1].bias.copy_(-self.body[1].weight.sum(1) / 2)
        self.spread = spread
        self.double()

    def forward(self, images):
        scores = super().forward(images)
        drawn = noise_source.normal(scores[:, :1])
        return scores + self.spread * torch.cat([drawn, torch.zeros_like(drawn)], 1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(count, shape=SHAPE, seed=5, dtype=torch.float64):
    return torch.rand(count, *shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


HARNESS = ("targets", "eot", "draws", "attacked", "then")
"""What the harness itself can be told of an attack."""


def case(name: str, budget: Budget, **options) -> Case:
    own = {key: options[key] for key in HARNESS if key in options}
    parameters = {key: value for key, value in options.items() if key not in HARNESS}
    described = registry.describe("attack", name).parameters
    full = {key: parameter.default for key, parameter in described.items()} | parameters
    part = {kind: Component(kind, "toy", 1) for kind in ("dataset", "architecture", "activation", "head", "defense")}
    cell = Cell(**part, training=Component("training", "toy", 1), seed=0)
    return Case(cell, Attack(Component("attack", name, 1, full), budget, **own))


def attacked(
    model, name, budget, images, labels=None, samples=None, batch_size=64, fixed_batch=None,
    source=None, state=None, **options,
):  # fmt: skip
    """The judge's rows, as a list of dictionaries."""
    if labels is None:
        with torch.no_grad():
            labels = model(images.to(model.mean.dtype)).argmax(1)
    samples = torch.arange(len(images)) + 100 if samples is None else samples
    one = case(name, budget, **options)
    how = {"batch_size": batch_size, "fixed_batch": fixed_batch, "source": source, "state": state}
    return attack_samples(model, one, images, labels, samples, **how).to_pylist()


def steps_of(labels):
    return torch.ones_like(labels)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def idle(model, images, labels, budget, streams):
    return images, steps_of(labels)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def noise(model, images, labels, budget, streams):
    drawn = streams.uniform("noise", 0, tuple(images.shape[1:]), images.dtype)
    return (images + budget.eps * (2 * drawn - 1)).clamp(*model.box), steps_of(labels)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def misshapen(model, images, labels, budget, streams):
    return images[:, :, :-1], steps_of(labels)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def mistyped(model, images, labels, budget, streams):
    return images.half(), steps_of(labels)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def stepless(model, images, labels, budget, streams):
    return images, None


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def partly(model, images, labels, budget, streams, *, value: str = "nan"):
    images = images.clone()
    images[1, 0, 2, 2] = float(value)
    return images, steps_of(labels)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="score")
def absent(model, images, labels, budget, streams):
    images = images.clone()
    images[1] = torch.nan
    model(images.nan_to_num())
    return images, 7 * steps_of(labels)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none", leaves_budget={"far": True})
def over(model, images, labels, budget, streams, *, by: float = 0.5, pixel: float = 0.0):
    images = images.clone()
    images[2, 0, 3, 3] = pixel + by
    return images, steps_of(labels)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def vandal(model, images, labels, budget, streams, *, what: str = "weights"):
    module = model._module
    parameter = next(module.parameters())
    if what == "weights":
        parameter.data.mul_(2)
    elif what == "flags":
        parameter.requires_grad_(True)
    elif what == "mode":
        module.train()
    elif what == "gradient":
        parameter.grad = torch.ones_like(parameter)
    elif what == "images":
        images.add_(0.01)
    elif what == "labels":
        labels.add_(1)
    return images.clone(), steps_of(labels)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def hungry(model, images, labels, budget, streams, *, most: int = 3):
    CALLS.append(len(images))
    if len(images) > most:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return noise(model, images, labels, budget, streams)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def counted(model, images, labels, budget, streams):
    """Forwards 3, 1, 2, 1, ...: all once, the first twice more, the third once more; backward on the first two."""
    model(images)
    model.at(torch.tensor([0, 0]))(images[[0, 0]])
    view = model.at(torch.tensor([2, 0, 1])).at(torch.tensor([0]))
    view(images[2:3])
    model.at(torch.tensor([0, 1])).ascent(images[:2], labels[:2])
    return images, steps_of(labels)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="white-box")
def miscounted(model, images, labels, budget, streams):
    model(images[:1])
    return images, steps_of(labels)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def gambler(model, images, labels, budget, streams):
    torch.rand(1)
    return images, steps_of(labels)
