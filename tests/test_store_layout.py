"""The layout of a store: known in one module, and the same in both directions."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import grid
from grid.ranges import Range
from grid.store import layout

ROOT = Path(grid.__file__).parent
FOLDERS = [f"{folder}/" for folder in ("cells", "failures", "grids", "prepared", "runs", "shards", "training")]
FILES = [
    "cell.json", "events.jsonl", "history.parquet", "prepared.json", "progress.json", "published.parquet", "run.json",
    "spec.yaml", "state.safetensors", "store.json", "wanted.parquet", "weights.safetensors",
]  # fmt: skip
PARTS_OF_PATHS = FOLDERS + FILES


def literals(source: str) -> Iterator[str]:
    """Every text in Python source, those in f-strings included, but for docstrings: texts that stand alone."""
    tree = ast.parse(source)
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


def parts_of_paths(source: str) -> list[str]:
    return [text for text in literals(source) if any(part in text for part in PARTS_OF_PATHS)]


@pytest.mark.parametrize("room", sorted(path.name for path in ROOT.iterdir() if path.name != "store"))
def test_no_path_of_a_store_is_written_outside_of_its_room(room):
    files = [ROOT / room] if (ROOT / room).is_file() else sorted((ROOT / room).rglob("*.py"))
    found = {str(file): parts_of_paths(file.read_text()) for file in files if file.suffix == ".py"}
    assert not any(found.values()), {file: texts for file, texts in found.items() if texts}


def test_in_its_room_only_the_layout_writes_paths():
    files = [file for file in (ROOT / "store").glob("*.py") if file.name != "layout.py"]
    assert {file.name: texts for file in files if (texts := parts_of_paths(file.read_text()))} == {}


def test_every_folder_and_file_of_the_layout_is_looked_for():
    names = {value for name, value in vars(layout).items() if name.isupper() and not name.startswith("_")}
    assert names == {part.removesuffix("/") for part in PARTS_OF_PATHS}


def test_a_path_is_seen_in_an_f_string_and_not_in_a_docstring():
    source = '"""shards/ of a case."""\ndef path(case):\n    "in shards/"\n    return f"{case}/../shards/{case}"\n'
    assert parts_of_paths(source) == ["/../shards/"]


def test_the_name_of_a_shard_says_its_positions_and_no_other_name_does():
    path = layout.shard("c", Range(20, 45))
    assert path == layout.shards("c", "20-45.parquet")
    assert layout.positions_of("20-45.parquet") == Range(20, 45)
    for name in ("20-45.parquet.aside-1a2b3c4d", "20.parquet", "a-b.parquet", "20-45.json"):
        assert layout.positions_of(name) is None


def test_what_was_set_aside_is_no_id():
    assert layout.ids(["1a2b", "1a2b.aside-3c4d5e6f", "3c4d"]) == ["1a2b", "3c4d"]


def test_a_file_lies_in_its_folder_and_a_failure_has_a_name_that_every_file_system_takes():
    assert layout.cell("c", layout.WEIGHTS) == f"{layout.cell('c')}/weights.safetensors"
    assert layout.failure("t", "2026-01-31T12:00:00", 2) == "failures/t/2026-01-31T120000-2.json"
