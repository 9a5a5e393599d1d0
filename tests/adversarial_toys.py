"""What the tests of adversarial training share: small classifiers, real images, and how a model is found and left."""

from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from tasks.config import Cell, Component
from tasks.heads.softmax import softmax
from tasks.model import Classifier, build_model, load_split
from tasks.registry import load
from tasks.training.objective import Defense
from tasks.trainings.standard import standard
from tasks.types import DataRoot

REAL = DataRoot(Path(__file__).parent.parent.parent / "shared" / "data")
EPS = 0.1


def defense(name: str, **parameters) -> Defense:
    return load("defense", name)(**parameters)


def linear(num_classes=2, head=softmax, size=6) -> Classifier:
    """Linear in the pixels, in float64; its weights are of the size of 1."""
    torch.manual_seed(0)
    made = head(size * size, num_classes)
    with torch.no_grad():
        made.weight.normal_()
        made.bias.copy_(-made.weight.sum(1) / 2)
    shape = (1, size, size)
    return Classifier(nn.Flatten(), made, shape=shape, num_classes=num_classes, mean=(0.0,), std=(1.0,)).double()


def network(head=softmax) -> Classifier:
    """A small network with a batch normalisation and a dropout, in training mode but for its last part."""
    torch.manual_seed(1)
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 8),
        nn.Tanh(),
    )  # fmt: skip
    made = head(8, 3)
    with torch.no_grad():
        made.weight.mul_(5)
    model = Classifier(body, made, shape=(1, 6, 6), num_classes=3, mean=(0.4,), std=(0.3,)).double().train()
    model.body[-1].eval()
    return model


def pixels(count=20, size=6, seed=3, dtype=torch.float64):
    """Random images, of which a third of the pixels lie at each end of the box."""
    drawn = torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (drawn * 3 - 1).clamp(0, 1).to(dtype)


def labels_of(count=20, num_classes=2):
    return torch.arange(count) % num_classes


def state_of(model: nn.Module):
    """All that crafting might leave behind."""
    modes = [module.training for module in model.modules()]
    flags = [parameter.requires_grad for parameter in model.parameters()]
    gradients = [None if parameter.grad is None else parameter.grad.tolist() for parameter in model.parameters()]
    return modes, flags, gradients, {name: tensor.tolist() for name, tensor in model.state_dict().items()}


@contextmanager
def failing(model: Classifier, after: int):
    """The model raises ZeroDivisionError at the pass after so many."""
    passes = iter(range(after + 1))

    def fail(module, inputs):
        if next(passes) == after:
            raise ZeroDivisionError

    handle = model.register_forward_pre_hook(fail)
    yield
    handle.remove()


@contextmanager
def watched(model: Classifier):
    """The passes made inside: (training mode, images) in their order."""
    seen = []
    handle = model.register_forward_pre_hook(
        lambda module, inputs: seen.append((module.training, inputs[0].detach().clone()))
    )
    yield seen
    handle.remove()


def far(crafted, images, norm):
    """The largest distance of an image from its original."""
    return float(torch.linalg.vector_norm((crafted - images).flatten(1), torch.inf if norm == "linf" else 2, 1).max())


@cache
def mnist(split: str, count: int):
    if not (REAL.path / "MNIST").is_dir():
        pytest.skip(f"no MNIST files under {REAL.path}")
    loaded = load_split(Component("dataset", "mnist", 1), split, REAL)
    return replace(loaded, images=loaded.images[:count], labels=loaded.labels[:count])


def trained(defended: Defense, epochs: int, count: int = 600) -> tuple[Classifier, list[float]]:
    """A perceptron trained on some real images, and the loss of each epoch."""
    part = {kind: Component(kind, name, 1) for kind, name in PARTS.items()}
    model = build_model(Cell(**part, seed=0), mnist("train", count))
    tested = mnist("test", 200)
    history = standard(model, mnist("train", count), tested, defended, 0, epochs=epochs, batch_size=32, lr=2e-3)
    return model.eval(), history["loss"].to_pylist()


PARTS = {
    "dataset": "mnist",
    "architecture": "mlp",
    "activation": "relu",
    "head": "softmax",
    "defense": "natural",
    "training": "standard",
}


@cache
def natural_robustness(epochs: int) -> float:
    return robustness(trained(Defense(), epochs)[0])


def robustness(model: Classifier) -> float:
    """The share of real images that stay right after one step of EPS along the sign of the gradient."""
    split = mnist("test", 200)
    images = (split.images / 255).requires_grad_()
    loss = torch.nn.functional.cross_entropy(model(images), split.labels)
    (gradient,) = torch.autograd.grad(loss, images)
    moved = (images.detach() + EPS * gradient.sign()).clamp(0, 1)
    return float((model(moved).argmax(1) == split.labels).double().mean())
