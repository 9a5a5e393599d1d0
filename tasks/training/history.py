"""The history of a training: one row per epoch that is done, with the columns of HISTORY.

It is all that a training has to remember beside its weights and its optimizer: what is decided from epoch to epoch is
decided from these rows, so that a training that was cut off decides as if it had not been.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

Row: TypeAlias = dict[str, float | None]
History: TypeAlias = Sequence[Row]


def values(history: History, column: str) -> list[float]:
    """What was measured in a column, epoch after epoch, without the epochs in which it was not."""
    return [value for row in history if (value := row.get(column)) is not None]


def watched(history: History) -> list[float]:
    """What callbacks watch on the validation split: the whole objective where it was measured, else the head's loss."""
    return values(history, "validation_objective") or values(history, "validation_loss")


def falls(history: History) -> Iterator[bool]:
    """Of each watched loss: is it less than all before it? One that is not a number is not."""
    least = math.inf
    for loss in watched(history):
        has_fallen = loss < least
        if has_fallen:
            least = loss
        yield has_fallen
