"""The parts of a model as they are tried: an activation, a body, a head or a defended classifier, and inputs for it.

Knows nothing of what they promise.
"""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasks.config import Component
from tasks.contracts.subject import Subject
from tasks.contracts.toys import patterns, seeded
from tasks.heads.softmax import softmax
from tasks.model import Classifier, make
from tasks.model import seeded as drawing_from
from tasks.noise import Noise, drawing
from tasks.registry import load
from tasks.streams import Streams
from tasks.training.objective import Defense, Loss, objective
from tasks.types import Shape, TaskError

SHAPES: tuple[Shape, ...] = ((1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 32, 32))
"""Of images, one of which an architecture has to take."""
NETS = ((6, 8), (3, 8, 5, 4))
"""Of what an activation is given: behind a linear layer, and behind a convolution."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Part:
    """A module in evaluation mode, its parameters shaped by a first pass, and inputs for it; the batch comes first."""

    module: nn.Module
    inputs: Tensor

    def seen(self, inputs: Tensor | None = None, *, key: str = "draws", rows: Tensor | None = None) -> Tensor:
        """What it makes, without a gradient, while it draws for the samples that these rows are."""
        inputs = self.inputs if inputs is None else inputs
        rows = torch.arange(len(inputs)) if rows is None else rows
        with torch.no_grad(), drawing(Noise(Streams(key, rows), torch.zeros_like(rows))):
            made: Tensor = self.module(inputs)
        return made


def parts(subject: Subject, seed: int = 0) -> Iterator[Part]:
    """It as it is built from a seed; twice where it can stand in two places."""
    for inputs, build in _BUILT[subject.kind](subject):
        with drawing_from(seed, CPU):
            module = build(seed).to(inputs.dtype).eval()
            with torch.no_grad():
                module(inputs[:1])
        yield Part(module, inputs)


Built = Iterator[tuple[Tensor, Callable[[int], nn.Module]]]
"""Inputs, and what makes a module of a seed, while torch's own generator starts from that."""


def _activation(subject: Subject) -> Built:
    for shape in NETS:
        yield torch.randn(shape, generator=seeded(3), dtype=torch.float64), lambda _: subject.make()


def _head(subject: Subject) -> Built:
    yield torch.randn(6, 5, generator=seeded(3), dtype=torch.float64), lambda _: subject.make(5, 3)


def _architecture(subject: Subject) -> Built:
    images = torch.rand(3, *shape_of(subject), generator=seeded(3))
    yield images, lambda seed: drawn_body(subject, seed)


def _defense(subject: Subject) -> Built:
    images = patterns(6, seed=1).images.double()
    yield images, lambda _: classifier_for(subject.make()).double()


_BUILT: Mapping[str, Callable[[Subject], Built]] = {
    "activation": _activation,
    "head": _head,
    "architecture": _architecture,
    "defense": _defense,
}


def shape_of(subject: Subject) -> Shape:
    """The first of SHAPES that an architecture takes. Raises what it raises at the last of them if it takes none."""
    return _fitting(subject.component)


@functools.cache
def _fitting(architecture: Component) -> Shape:
    for shape in SHAPES:
        try:
            body = make(architecture, shape, load("activation", "relu")).eval()
            with torch.no_grad():
                body(torch.zeros(1, *shape))
        except (TaskError, ValueError, RuntimeError):
            if shape == SHAPES[-1]:
                raise
        else:
            break
    return shape


def drawn_body(subject: Subject, seed: int) -> nn.Module:
    """An architecture's body with relu, and with the weights that a seed gives it."""
    return copy.deepcopy(_body(subject.component, shape_of(subject), seed))


@functools.lru_cache(maxsize=2)
def _body(architecture: Component, shape: Shape, seed: int) -> nn.Module:
    """Kept, since drawing the weights of a large one takes longer than all that is done with it."""
    with drawing_from(seed, CPU):
        body: nn.Module = make(architecture, shape, load("activation", "relu"))
    return body


def body_of(subject: Subject, shape: Shape, activation: Callable[[], nn.Module] | None = None) -> nn.Module:
    """An architecture's body with an activation, relu unless said otherwise."""
    body: nn.Module = subject.make(shape, activation or load("activation", "relu"))
    return body


def classifier_for(defense: Defense | None = None) -> Classifier:
    """A small network for the images of `patterns`, with one activation, and with what a defense puts into it."""
    activation = load("activation", "relu")()
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), activation)
    split = patterns(3, seed=1)
    model = Classifier(
        body, softmax(12, 3), shape=split.shape, num_classes=3, mean=split.mean, std=split.std, activations=[activation]
    )
    if defense is not None and defense.adapt:
        defense.adapt(model)
    return model


def loss_of(defense: Defense, model: Classifier) -> Loss:
    """What is minimised under a defense, which learns from a model of the same kind if it does from any."""
    if defense.taught:
        defense = defense.taught(teacher_for(model))
    return objective(defense, model)


def teacher_for(model: Classifier) -> Classifier:
    """A frozen model that knows the classes of `patterns`, of the type of another."""
    with drawing_from(7, CPU):
        teacher = classifier_for().to(model.mean.dtype)
        taught(teacher, objective(Defense(), teacher))
    return teacher.eval().requires_grad_(requires_grad=False)


def taught(model: Classifier, loss: Loss, steps: int = 50) -> None:
    """Minimise a loss on `patterns`, in place."""
    split = patterns(60, seed=2)
    images, optimizer = split.images.to(model.mean.dtype), torch.optim.Adam(model.parameters(), lr=0.03)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model, images, split.labels)[0].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()
