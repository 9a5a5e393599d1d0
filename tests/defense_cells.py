"""Cells with a defense on real images, small enough for a test."""

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.config import Cell, Component
from tasks.model import load_split
from tasks.types import DataRoot, Split

REAL = DataRoot(Path(__file__).parent.parent.parent / "shared" / "data")


def real_images(train: int = 400, test: int = 50) -> tuple[Split, Split]:
    """The first images of MNIST; the test is skipped where there are none."""
    if not (REAL.path / "MNIST").is_dir():
        pytest.skip(f"no MNIST files under {REAL.path}")
    splits = (load_split(Component("dataset", "mnist", 1), name, REAL) for name in ("train", "test"))
    first, second = (
        replace(split, images=split.images[:count], labels=split.labels[:count])
        for split, count in zip(splits, (train, test), strict=True)
    )
    return first, second


def cell(architecture: str, defense: str, **parameters: object) -> Cell:
    return Cell(
        dataset=Component("dataset", "mnist", 1),
        architecture=Component("architecture", architecture, 1),
        activation=Component("activation", "relu", 1),
        head=Component("head", "softmax", 1),
        defense=Component("defense", defense, 1, parameters),
        training=Component("training", "standard", 1),
        seed=0,
    )
