"""The axes of a cell in SQL: the one place where SQL is made from CELL_AXES, so that no .sql file lists them.

The axes of a cell travel through the views as one value, a struct, which is compared axis by axis in their order.
"""

from collections.abc import Mapping

from tasks.config import CELL_AXES, LABELLED_AXES, SETTINGS

AXES_OF_SOURCE = tuple(axis for axis in CELL_AXES if axis != "dataset")
"""What a table says of the cell that an attack looks at, as `source_head`."""


def axes_macros() -> str:
    """The statements that define the macros.

    axes_of(row)      of a row of the wanted table: {dataset, architecture, ..., seed}
    labels_of(row)    the same, in words where there are words for an axis
    axes_in(cell)     of a resolved cell, as JSON text
    as_source(axes)   {source_architecture, ..., source_seed} of such a struct
    without_seed(axes)    such a struct, its seed null
    """
    macros = {
        "axes_of(r)": {axis: f"r.{axis}" for axis in CELL_AXES},
        "labels_of(r)": {axis: f"r.{axis}_label" if axis in LABELLED_AXES else f"r.{axis}" for axis in CELL_AXES},
        "axes_in(cell)": {axis: _in_json(axis) for axis in CELL_AXES},
        "as_source(axes)": {f"source_{axis}": f"axes.{axis}" for axis in AXES_OF_SOURCE},
        "without_seed(axes)": {axis: "NULL" if axis == "seed" else f"axes.{axis}" for axis in CELL_AXES},
    }
    return "".join(f"CREATE MACRO {name} AS {_struct(fields)};\n" for name, fields in macros.items())


def _in_json(axis: str) -> str:
    if axis in SETTINGS:
        return f"coalesce(cell ->> '$.{axis}', '{SETTINGS[axis][0]}')"
    return "(cell ->> '$.seed')::BIGINT" if axis == "seed" else f"cell ->> '$.{axis}.name'"


def _struct(fields: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in fields.items()) + "}"
