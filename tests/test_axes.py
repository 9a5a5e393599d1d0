"""The axes of a cell in the views and tables: all of them, in one order, and named in no .sql file."""

import re
from importlib.resources import files

import pytest
from test_query import wanted_row, written

from grid.questions import TABLES
from grid.results.columns import RECEDING
from grid.results.query import query, run_sql
from grid.results.views import Contents, connect
from tasks.config import CELL_AXES, LABELLED_AXES, SETTINGS
from tasks.schema import WANTED

COSTS = ("attack_seconds.sql", "train_seconds.sql")
"""What a sample or a training costs depends on some axes and not on others."""


def in_order(names, chosen):
    return [name for name in names if name in chosen]


@pytest.mark.parametrize(
    "view", ["cells", "cases", "samples", "measures", "prepared", "coverage", "failures", "wanted"]
)
def test_every_view_of_cells_has_a_column_for_each_axis(view):
    with connect(Contents()) as con:
        assert in_order(run_sql(con, f"from {view}").column_names, CELL_AXES) == list(CELL_AXES)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_a_column_for_each_axis(name, tmp_path):
    wanted = written(tmp_path / "wanted.parquet", [wanted_row("c", "k")], WANTED)
    with connect(Contents(wanted=[("g", wanted)])) as con:
        columns = query(con, name, "g").column_names
    assert in_order(columns, CELL_AXES) == list(CELL_AXES)
    sources = [column for column in columns if column.startswith("source_")]
    assert sources == [f"source_{axis}" for axis in CELL_AXES if axis != "dataset"] * (name == "transfer")


def test_a_table_is_ordered_axis_by_axis_and_a_seed_by_its_size(tmp_path):
    cells = [("kmnist", "relu", "softmax", 2), ("digits", "tanh", "softmax", 10), ("digits", "tanh", "softmax", 9)]
    cells += [("digits", "tanh", "cons", 11), ("digits", "relu", "softrmax", 0)]
    names = ("dataset", "activation", "head", "seed")
    rows = [
        wanted_row(f"c{number}", f"k{number}", **dict(zip(names, cell, strict=True)))
        for number, cell in enumerate(cells)
    ]
    wanted = written(tmp_path / "wanted.parquet", rows, WANTED)
    with connect(Contents(wanted=[("g", wanted)])) as con:
        found = query(con, "fooling", "g").select(list(names)).to_pylist()
    assert [tuple(row.values()) for row in found] == sorted(cells)


def test_a_trained_cell_that_no_grid_wants_has_its_axes_from_its_own_record(tmp_path):
    with connect(Contents()) as con:
        cell = '{"head": {"name": "cons"}, "seed": 3}'
        usual = {name: values[0] for name, values in SETTINGS.items()}
        assert run_sql(con, f"select axes_in('{cell}') as a").to_pylist() == [
            {"a": dict.fromkeys(CELL_AXES) | usual | {"head": "cons", "seed": 3}}
        ]


def test_no_sql_file_lists_the_axes():
    for file in (files("grid.results") / "sql").iterdir():
        text = "\n".join(line for line in file.read_text().split("\n") if not line.strip().startswith("--"))
        named = [axis for axis in CELL_AXES if re.search(rf"\b{axis}\b", text)]
        assert len(named) <= (2 if file.name in COSTS else 1), f"{file.name} names {named}"


def test_a_report_names_an_axis_once_that_is_the_same_in_every_row_but_for_the_head():
    assert set(CELL_AXES) - set(RECEDING) == {"head"}


def test_the_axes_in_words_are_columns_of_the_wanted_table():
    assert {f"{axis}_label" for axis in LABELLED_AXES} <= set(WANTED.names)
