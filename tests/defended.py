"""Cells with a defense, and real images to train them on, without a store or a plan."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from torch import nn

from tasks.cases import Budget
from tasks.config import Cell, Component
from tasks.counted import CountedModel
from tasks.heads.softmax import softmax
from tasks.metrics import frozen
from tasks.model import Classifier, build_model, load_split, make
from tasks.streams import Streams
from tasks.training.objective import Defense
from tasks.trainings.standard import standard
from tasks.types import DataRoot, Measure, Split

REAL = DataRoot(Path(__file__).parent.parent.parent / "shared" / "data")


def real_images(train: int, test: int) -> tuple[Split, Split]:
    """The first images of MNIST, or the test is skipped."""
    if not (REAL.path / "MNIST").is_dir():
        pytest.skip(f"no MNIST files under {REAL.path}")
    whole = [load_split(Component("dataset", "mnist", 1), name, REAL) for name in ("train", "test")]
    first, second = (
        replace(split, images=split.images[:count], labels=split.labels[:count])
        for split, count in zip(whole, (train, test), strict=True)
    )
    return first, second


def cell(defense: str, *, head: str = "softmax", architecture: str = "mlp", **parameters: object) -> Cell:
    return Cell(
        dataset=Component("dataset", "mnist", 1),
        architecture=Component("architecture", architecture, 1),
        activation=Component("activation", "relu", 1),
        head=Component("head", head, 1),
        defense=Component("defense", defense, 1, parameters),
        training=Component("training", "standard", 1),
        seed=0,
    )


def trained(
    settings: Cell, splits: tuple[Split, Split], *, teacher: Classifier | None = None, **training: object
) -> tuple[Classifier, pa.Table]:
    """The cell's model in evaluation mode, and its history."""
    model = build_model(settings, splits[0])
    defense: Defense = make(settings.defense)
    if teacher is not None:
        assert defense.taught is not None
        defense = defense.taught(teacher)
    history = standard(model, *splits, defense, settings.seed, **training)
    return model.eval(), history


def toy(classes: int = 3, shape=(1, 2, 2), mean=(0.5,), std=(0.25,)) -> Classifier:
    """A linear classifier in float64, in evaluation mode."""
    torch.manual_seed(0)
    head = softmax(torch.Size(shape).numel(), classes)
    model = Classifier(nn.Flatten(), head, shape=shape, num_classes=classes, mean=mean, std=std)
    return model.double().eval()


def probed(probe, model, images, labels=None, *, samples=None, fixed_batch=None, **parameters) -> dict[str, Measure]:
    """What a probe finds, by name."""
    samples = torch.arange(len(images)) if samples is None else samples
    labels = torch.zeros_like(samples) if labels is None else labels
    streams = Streams("probe", samples)
    with frozen(model):
        counted = CountedModel(
            model, samples, Budget("l2", None), num_classes=model.num_classes, noise=streams, fixed_batch=fixed_batch
        )
        return {found.name: found for found in probe(counted, images, labels, streams, **parameters)}
