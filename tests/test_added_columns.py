"""Rows of several versions in one store: added columns are null before, unknown ones are kept, lost ones are damage."""

import shutil
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from grids import answered, call, launch, write_spec
from old_stores import FOLDERS

from grid.errors import ForeignFileError
from grid.ranges import Range
from grid.store.store import Store
from grid.work.bench import Bench
from tasks import schema
from tasks.schema import HISTORY, MEASURES, PUBLISHED, SAMPLES, WANTED, is_added_later, without_provenance

SCHEMAS = {"SAMPLES": SAMPLES, "MEASURES": MEASURES, "HISTORY": HISTORY, "WANTED": WANTED, "PUBLISHED": PUBLISHED}
RACK = schema._field("rack", pa.string(), "where the worker stood", added="0.2")
NOVELTY = schema._field("novelty", pa.int32(), "a toy", added="0.2")


def widen(monkeypatch, name, field, *, before=None):
    """A later version: every module has the schema of this name with a column more, after `before` or at the end."""
    older = SCHEMAS[name]
    wider = older.insert(older.get_field_index(before) + 1 if before else len(older), field)
    for module in [m for n, m in sys.modules.items() if n.startswith(("grid.", "tasks."))]:
        if getattr(module, name, None) is older:
            monkeypatch.setattr(module, name, wider)
    return wider


def racked(monkeypatch):
    """A later version, whose workers say where they stand."""
    for name in ("SAMPLES", "MEASURES"):
        widen(monkeypatch, name, RACK)
    signed = Bench.signed

    def more(bench, rows, cell):
        return signed(bench, rows, cell).append_column("rack", pa.repeat("r1", len(rows)))

    monkeypatch.setattr(Bench, "signed", more)


def sql(store, text):
    result = call("sql", store, text, "--json")
    assert result.exit_code == 0, result.stderr
    return [tuple(row.values()) for row in answered(result)]


def racks(store, view):
    """How many rows, and of how many samples, were made where."""
    return sql(store, f"select rack, count(*), count(distinct sample) from {view} group by 1 order by 1 nulls first")


def asked(folder, count):
    return write_spec(folder, samples={"count": count}, attacks=[{"fgsm": {"eps": 0.1}}], probes=["confidence"])


def done(result):
    assert result.exit_code == 0, result.stderr
    return result.stderr.splitlines()[-1]


def test_rows_of_before_are_null_rows_of_after_are_filled_and_no_row_is_redone(tmp_path, monkeypatch):
    store = tmp_path / "store"
    launch(asked(tmp_path, 20), store)
    before = {path: path.read_bytes() for path in store.rglob("shards/*/*.parquet")}
    racked(monkeypatch)
    assert racks(store, "samples") == [(None, 40, 20)]
    assert racks(store, "measures") == [(None, 240, 20)]
    assert "nothing was missing" in done(launch(asked(tmp_path, 20), store))
    assert "done 0 cells, 8 shards, 80 samples" in done(launch(asked(tmp_path, 40), store))
    assert {path: path.read_bytes() for path in before} == before
    for _ in range(2):
        assert racks(store, "samples") == [(None, 40, 20), ("r1", 40, 20)]
        assert racks(store, "measures") == [(None, 240, 20), ("r1", 240, 20)]
        assert [row["n"] for row in answered(call("table", store, "robust_accuracy", "--json"))] == [40] * 4
        assert call("status", store).exit_code == 0
        call("tidy", store)  # and once more, of files that were merged
    assert len(list(store.rglob("shards/*/*.parquet"))) == 4


def test_a_version_of_before_reads_rows_of_after_adds_its_own_and_loses_nothing(tmp_path, monkeypatch):
    store = tmp_path / "store"
    with monkeypatch.context() as later:
        racked(later)
        launch(asked(tmp_path, 20), store)
        assert racks(store, "samples") == [("r1", 40, 20)]
    assert racks(store, "samples") == [("r1", 40, 20)]
    assert "nothing was missing" in done(launch(asked(tmp_path, 20), store))
    assert "done 0 cells, 8 shards, 80 samples" in done(launch(asked(tmp_path, 40), store))
    for _ in range(2):
        assert racks(store, "samples") == [(None, 40, 20), ("r1", 40, 20)]
        assert racks(store, "measures") == [(None, 240, 20), ("r1", 240, 20)]
        call("tidy", store)
    assert len(list(store.rglob("shards/*/*.parquet"))) == 4
    with monkeypatch.context() as later:
        racked(later)
        assert racks(store, "samples") == [(None, 40, 20), ("r1", 40, 20)]


@pytest.fixture
def old(tmp_path):
    """A store in which there is something of every kind."""
    shutil.copytree(FOLDERS[0] / "store", tmp_path / "old")
    return tmp_path / "old"


KINDS = {
    "SAMPLES": ("samples", "shards/*/0-12.parquet", "robust_accuracy", "linf"),
    "MEASURES": ("measures", "shards/*/0-[468].parquet", "measures", "value"),
    "HISTORY": ("history", "cells/*/history.parquet", "history", "loss"),
    "WANTED": ("wanted", "grids/*/wanted.parquet", "robust_accuracy", "asked"),
    "PUBLISHED": ("published", "grids/*/published.parquet", "published", "metric"),
}
"""Of each schema the view, the files, a table, and a column that was always there."""


def rewritten(path, change):
    """Change the table of a file, and keep what it is sealed with."""
    file = pq.ParquetFile(path)
    table = change(file.read())
    with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(dict(file.metadata.metadata or {}))


def with_novelty(table):
    return table.append_column("novelty", pa.repeat(pa.scalar(7, pa.int32()), len(table)))


def numbers(store, table):
    result = call("table", store, table, "--json")
    assert result.exit_code == 0, result.stderr
    return answered(result)


def same(rows):
    """The same rows, but for the order of sums, which is DuckDB's choice."""
    return [{k: pytest.approx(v, rel=1e-9) if isinstance(v, float) else v for k, v in row.items()} for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_no_file_has_yet_is_null_in_the_view_and_changes_no_table(old, monkeypatch, kind):
    view, _, table, _ = KINDS[kind]
    before = numbers(old, table)
    [(count,)] = sql(old, f"select count(*) from {view}")
    widen(monkeypatch, kind, NOVELTY)
    assert sql(old, f"select count(*), count(novelty) from {view}") == [(count, 0)]
    assert count > 0
    assert ("novelty", "INTEGER") in [row[:2] for row in sql(old, f"describe {view}")]
    assert numbers(old, table) == same(before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_is_there_where_there_is_no_file_at_all(tmp_path, monkeypatch, kind):
    widen(monkeypatch, kind, NOVELTY)
    Store(str(tmp_path / "store")).create()
    assert sql(tmp_path / "store", f"select novelty from {KINDS[kind][0]}") == []


BESIDE = [
    pytest.param(kind, is_known, marks=[] if kind == "SAMPLES" else pytest.mark.drill)
    for kind in KINDS
    for is_known in (True, False)
]
"""Whether this version knows the column; other kinds of files are read by the same function."""


@pytest.mark.parametrize(("kind", "is_known"), BESIDE)
def test_files_with_the_column_stand_beside_files_without_it(old, monkeypatch, kind, is_known):
    view, files, table, _ = KINDS[kind]
    before = numbers(old, table)
    [(count,)] = sql(old, f"select count(*) from {view}")
    paths = sorted(old.glob(files))
    for path in paths[: (len(paths) + 1) // 2]:
        rewritten(path, with_novelty)
    if is_known:
        widen(monkeypatch, kind, NOVELTY)
    [(total, filled, value)] = sql(old, f"select count(*), count(novelty), max(novelty) from {view}")
    assert (total, value) == (count, 7)
    assert 0 < filled < count if len(paths) > 1 else filled == count
    assert numbers(old, table) == same(before)
    assert call("status", old).exit_code == 0


@pytest.mark.parametrize("kind", ["SAMPLES", "MEASURES"])
def test_a_shard_without_a_column_that_was_always_there_is_no_result_and_is_redone(tmp_path, kind):
    _, _, table, column = KINDS[kind]
    store = tmp_path / "store"
    launch(asked(tmp_path, 20), store)
    damaged = min(path for path in store.rglob("shards/*/*.parquet") if column in pq.read_schema(path).names)
    rewritten(damaged, lambda rows: rows.drop_columns([column]))
    result = call("table", store, table, "--json")
    assert result.exit_code == 4
    assert f"{damaged}: no column '{column}': passed over" in result.stderr
    assert not all(row["complete"] for row in answered(result))
    assert "merged" in call("tidy", store).stdout
    assert f"{damaged}: no column '{column}'; set aside" in (again := launch(asked(tmp_path, 20), store)).stderr
    assert "done 0 cells, 1 shards, 10 samples" in done(again)
    assert call("status", store).exit_code == 0


@pytest.mark.parametrize("kind", ["HISTORY", "WANTED", "PUBLISHED"])
def test_a_file_without_a_column_that_was_always_there_is_named_with_the_column(old, kind):
    _, files, table, column = KINDS[kind]
    damaged = min(old.glob(files))
    rewritten(damaged, lambda rows: rows.drop_columns([column]))
    for words in (["table", old, table], ["status", old], ["sql", old, "select 1"]):
        result = call(*words)
        assert result.exit_code == 4
        assert f"{damaged}: torn, or no table of attackgrid's: no column '{column}'" in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("kind", ["WANTED", "PUBLISHED"])
def test_a_launch_writes_what_a_grid_asks_for_anew(old, kind, tmp_path):
    _, files, table, column = KINDS[kind]
    launch(FOLDERS[0] / "spec.yaml", old)
    before = numbers(old, table)
    rewritten(min(old.glob(files)), lambda rows: rows.drop_columns([column]))
    assert "nothing was missing" in done(launch(FOLDERS[0] / "spec.yaml", old))
    assert numbers(old, table) == same(before)


def test_a_column_is_missing_only_where_no_version_added_it(old, monkeypatch):
    """The same files and the same schema, but for the declaration."""
    undeclared = pa.field("novelty", pa.int32())
    with monkeypatch.context() as later:
        widen(later, "HISTORY", undeclared)
        assert "no column 'novelty'" in call("table", old, "history").stderr
    widen(monkeypatch, "HISTORY", NOVELTY)
    assert call("table", old, "history").exit_code == 0


def shard(store, start, stop, **more):
    columns = {
        field.name: pa.nulls(stop - start, field.type)
        if field.nullable
        else pa.repeat(pa.scalar("x" if field.type == pa.string() else 0).cast(field.type), stop - start)
        for field in SAMPLES
    } | {"sample": pa.array(range(start, stop))}
    table = pa.table(columns | {name: pa.repeat(value, stop - start) for name, value in more.items()})
    assert store.shards.save("k", Range(start, stop), table, "w", "{}")


def test_overlapping_shards_of_unlike_columns_are_merged_position_by_position(tmp_path):
    store = Store(str(tmp_path / "store"))
    store.create()
    shard(store, 0, 6)
    shard(store, 4, 8, novelty=7)
    shard(store, 8, 10, rack="r1")
    assert store.shards.merge("k")
    rows = pq.read_table(tmp_path / "store/shards/k/0-10.parquet")
    assert rows.column_names == [*SAMPLES.names, "novelty", "rack"]
    assert rows["sample"].to_pylist() == list(range(10))
    assert rows["novelty"].to_pylist() == [None] * 6 + [7] * 2 + [None] * 2
    assert rows["rack"].to_pylist() == [None] * 8 + ["r1"] * 2


def traced(store, table):
    store.trainings.keep("c", b"state", {"k": table})
    return store.trainings.kept("c", ["k"])


def test_what_a_lost_training_had_measured_goes_on_with_the_columns_of_now(tmp_path, monkeypatch):
    store = Store(str(tmp_path / "store"))
    older = without_provenance(MEASURES)
    rows = pa.table({field.name: pa.repeat(pa.scalar(1).cast(field.type), 2) for field in older})
    state, kept = traced(store, rows)
    assert (state, kept["k"].schema.names) == (b"state", older.names)
    assert traced(store, with_novelty(rows))[1]["k"].equals(kept["k"])
    assert traced(store, rows.drop_columns(["value"])) == (None, {})
    wider = without_provenance(widen(monkeypatch, "MEASURES", NOVELTY, before="value"))
    now = traced(store, rows)[1]["k"]
    assert now["novelty"].to_pylist() == [None, None]
    assert len(pa.concat_tables([now, wider.empty_table()])) == 2


def test_the_history_of_an_older_cell_can_be_another_ones(tmp_path, monkeypatch):
    store = Store(str(tmp_path / "store"))
    rows = pa.table({field.name: pa.repeat(pa.scalar(1).cast(field.type), 2) for field in HISTORY}, schema=HISTORY)
    for cell, history in (("a", rows), ("b", rows.drop_columns(["lr"]))):
        store.cells.save(cell, b"weights", history, {"cell_id": cell})
    widen(monkeypatch, "HISTORY", NOVELTY)
    assert store.cells.history("a")["novelty"].to_pylist() == [None, None]
    with pytest.raises(ForeignFileError, match=r"cells/b/history\.parquet: .*no column 'lr'\. Remove the folder and"):
        store.cells.history("b")
    (tmp_path / "store/cells/a/history.parquet").unlink()
    with pytest.raises(ForeignFileError, match=r"cells/a/history\.parquet: not there\. Remove the folder"):
        store.cells.history_path("a")


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_column_that_was_added_may_be_null_and_says_since_when(name):
    for field in SCHEMAS[name]:
        assert field.nullable or not is_added_later(field)
    assert RACK.nullable
    assert is_added_later(RACK)
    assert not is_added_later(pa.field("x", pa.int32()))


def test_what_the_first_store_has_was_always_there_and_the_rest_was_added():
    """A column that is new and not declared as added would make damage of every store there is."""
    for name, (_, files, _, _) in KINDS.items():
        for path in (FOLDERS[0] / "store").glob(files):
            assert pq.read_schema(path).names == [f.name for f in SCHEMAS[name] if not is_added_later(f)]
