"""What a column of a table is, by its name: the one place that says so.

x                        a number that was measured, with `x_low` and `x_high`, its interval
n, n_x, x_n, absent      how many a number is over
x_stored, x_wanted       how much of what is wanted is there; `complete`: whether all of it is
all others               what a line is about
"""

from collections.abc import Sequence

import pyarrow as pa

from grid.results.axes import AXES_OF_SOURCE
from tasks.config import CELL_AXES, SETTINGS

ABSENT = "—"
"""The cell of a value that is not there."""

IDS = ("cell_id", "case_id")
"""By which a table's lines are looked up; no table shows them."""

NUMBERS_OF_LINES = ("eps", "radius", "bin_low", "bin_high")
"""Real numbers that say what a line is about."""

SPREAD = ("over_low", "over_high", "sd", "lowest", "highest", "over_n")
"""What stands beside a mean over lines, as `x_sd`: see `grid.results.over`."""

LABELS = ("cell", "attack", "probe", "eps_label", "source", "transfer_from", *(f"source_{axis}" for axis in CELL_AXES))
"""What a line is about, in words."""

SAID = ("note", "attacks", "vote", "decided_by", "limited_by", "verdict", "reason")
"""What is said of what was found in a line: no two lines differ in what they are about by these."""

RECEDING = (
    *(f"source_{axis}" for axis in AXES_OF_SOURCE),
    *(axis for axis in CELL_AXES if axis != "head"),
    *("transfer_from", "source", "variant", "cell", "norm", "space", "box", "draws", "targets", "vote", "over"),
    "complete",
)
"""Columns that a report names once if they are the same in every row in which they have a value."""

OPTIONAL = (
    *("note", "fit_fooling_rate", "decided_by", "limited_by", "epoch", "layer"),
    *("validation_loss", "validation_objective", "validation_accuracy", "test_accuracy"),
)
"""Columns that a report leaves out if no row has a value in them."""

USUAL = {f"{of}{name}": values[0] for name, values in SETTINGS.items() for of in ("", "source_")}
"""What a cell is set to where nothing is said: as it is then, a report does not name it."""

OF_METRIC = ("published", "as_published", "corrected", "measured")
"""Columns whose unit the row's `metric` says."""


def is_measured(field: pa.Field) -> bool:
    """Whether a column holds what was measured, and not a bound or a spread of it."""
    is_real = pa.types.is_floating(field.type) or pa.types.is_decimal(field.type)
    is_about = field.name in NUMBERS_OF_LINES or bool(field.metadata)
    return is_real and not is_about and not field.name.endswith(("_low", "_high", *(f"_{end}" for end in SPREAD)))


def is_count(field: pa.Field) -> bool:
    """Whether a column says how many."""
    name = field.name
    counts = name in {"n", "absent"} or name.startswith("n_") or name.endswith(("_n", "_stored", "_wanted"))
    return counts and bool(pa.types.is_integer(field.type) or pa.types.is_decimal(field.type))


def beside(name: str, names: Sequence[str]) -> list[str]:
    """A column and those that belong to it: its interval, its spread, how many it is over."""
    return [each for each in (name, *(f"{name}_{end}" for end in ("low", "high", *SPREAD, "n"))) if each in names]
