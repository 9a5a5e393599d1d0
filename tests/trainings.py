"""Cells to train, the images they are trained on, and what came of it."""

import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor

from tasks.config import Cell, Component
from tasks.model import Classifier, load_split
from tasks.training.objective import Defense, mean_loss
from tasks.trainings.standard import standard
from tasks.types import DataRoot, Split

CPU = torch.device("cpu")
REAL = DataRoot(Path(__file__).parent.parent.parent / "shared" / "data")
NATURAL = Component("defense", "natural", 1)


def cell(dataset: str = "digits", architecture: str = "mlp", head: str = "softmax", **training: object) -> Cell:
    return Cell(
        dataset=Component("dataset", dataset, 1),
        architecture=Component("architecture", architecture, 1),
        activation=Component("activation", "relu", 1),
        head=Component("head", head, 1),
        defense=NATURAL,
        training=Component("training", "standard", 1, training),
        seed=0,
    )


def load(dataset: str, train: int | None = None, test: int | None = None) -> tuple[Split, Split]:
    """The first images of both splits; None is all of them."""
    chosen = Component("dataset", dataset, 1)
    return first(load_split(chosen, "train", REAL), train), first(load_split(chosen, "test", REAL), test)


def first(split: Split, count: int | None) -> Split:
    return replace(split, images=split.images[:count], labels=split.labels[:count])


def weights(model: Classifier) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def turning(after: int) -> Defense:
    """A defense that learns the true classes for so many batches, and from then on the wrong ones."""
    calls = iter(range(1_000_000))

    def loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return mean_loss(model, images, labels if next(calls) < after else (labels + 1) % 10)

    return Defense(loss=loss)


def worse_and_worse(splits: tuple[Split, Split], model: Classifier, **options: object) -> pa.Table:
    """The history of a training on 300 images whose validation loss rises from the fourth epoch on."""
    defense = turning(after=3 * math.ceil(240 / 128))  # it counts calls: only training may ask it
    return standard(model, *splits, defense, 0, lr=0.01, validation=0.2, watch="head", **options)
