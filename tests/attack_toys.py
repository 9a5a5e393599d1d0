"""Toy classifiers whose answers are known, and attacks that break their contract in one way each."""

import torch
from torch import nn

from tasks.cases import Budget, Case
from tasks.contracts.attacking import case_of, judged
from tasks.contracts.subject import Subject
from tasks.contracts.toys import SHAPE, Toy, Wavering, conv_net, linear, pixels, seeded
from tasks.registry import component

__all__ = [
    "SHAPE",
    "Quadratic",
    "Toy",
    "Wavering",
    "attacked",
    "case",
    "conv_net",
    "linear",
    "pixels",
    "seeded",
]

CALLS: list[int] = []
"""Batch sizes that `hungry` was called with."""
HARNESS = ("targets", "eot", "draws", "attacked", "then")
"""What the harness itself can be told of an attack."""


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


def case(name: str, budget: Budget, **options) -> Case:
    harness = {key: options.pop(key) for key in HARNESS if key in options}
    return case_of(Subject("attack", name, options), budget, **harness)


def attacked(
    model, name, budget, images, labels=None, samples=None, batch_size=64, fixed_batch=None,
    source=None, state=None, **options,
):  # fmt: skip
    """The judge's rows, as a list of dictionaries."""
    how = {key: options.pop(key) for key in HARNESS if key in options}
    how |= {"labels": labels, "samples": samples, "batch_size": batch_size, "fixed_batch": fixed_batch}
    return judged(Subject("attack", name, options), model, images, budget, source=source, state=state, **how)


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


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
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


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="score")
def asks_nan(model, images, labels, budget, streams):
    asked = images.clone()
    asked[2] = torch.nan
    with torch.no_grad():
        model(asked)
    return images, steps_of(labels)
