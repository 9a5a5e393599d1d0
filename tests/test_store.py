import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from grid.errors import ForeignFileError, StoreError, StoreVersionError
from grid.ranges import Range, cover
from grid.store.files import Files
from grid.store.store import Store
from tasks.schema import FORMAT, HISTORY, SAMPLES, WANTED

CASE = "0123456789abcdef"


def rows(start, stop):
    values = {
        **dict.fromkeys(SAMPLES.names),
        **dict.fromkeys(("case_id", "host", "device", "worker", "versions", "run_id"), "x"),
        **dict.fromkeys(("label", "clean_pred", "seed"), 0),
        **dict.fromkeys(("clean_confidence", "clean_margin"), 0.5),
        **dict.fromkeys(("clean_correct", "attacked", "success"), True),
    }
    return pa.Table.from_pylist([{**values, "sample": p} for p in range(start, stop)], schema=SAMPLES)


@pytest.fixture
def store(tmp_path):
    made = Store(str(tmp_path / "store"))
    made.create()
    return made


def file(store, path):
    return Path(store.location, path)


def save(store, start, stop, weights="w"):
    return store.shards.save(CASE, Range(start, stop), rows(start, stop), weights, "{}")


def stored(store, weights="w"):
    return [f.positions for f in store.shards.inventory(CASE, weights).whole]


def test_a_shard_is_stored_once_whoever_comes_second(store):
    assert save(store, 0, 10)
    assert not save(store, 0, 10)
    assert stored(store) == [Range(0, 10)]
    assert store.shards.cases() == {CASE}


def test_a_torn_an_empty_and_a_foreign_file_are_named_and_do_not_count(store):
    for start in (0, 10, 20, 30):
        save(store, start, start + 10)
    folder, other = file(store, f"shards/{CASE}"), file(store, "shards/fedcba9876543210")
    first, third = ((folder / name).read_bytes() for name in ("0-10.parquet", "20-30.parquet"))
    (folder / "0-10.parquet").write_bytes(first[:-20])
    (folder / "10-20.parquet").write_bytes(b"")
    (folder / "30-45.parquet").write_bytes(third)
    other.mkdir()
    (other / "0-10.parquet").write_bytes(third)
    found = store.shards.inventory(CASE, "w")
    assert [f.positions for f in found.whole] == [Range(20, 30), Range(30, 40)]
    assert dict(found.broken) == {
        f"shards/{CASE}/0-10.parquet": "torn, or no Parquet file",
        f"shards/{CASE}/10-20.parquet": "torn, or no Parquet file",
        f"shards/{CASE}/30-45.parquet": "10 rows, where its name says 15",
    }
    (foreign,) = store.shards.inventory("fedcba9876543210", "w").broken
    assert foreign[1] == "not written by attackgrid for this case"


def test_a_temporary_file_is_no_result(store):
    save(store, 0, 10)
    data = file(store, f"shards/{CASE}/0-10.parquet").read_bytes()
    file(store, f"shards/{CASE}/.10-20.parquet.1234.tmp").write_bytes(data)
    assert stored(store) == [Range(0, 10)]


def test_results_of_other_weights_do_not_count_and_are_set_aside_to_be_redone(store):
    save(store, 0, 10, weights="old")
    save(store, 10, 20, weights="new")
    assert stored(store, "new") == [Range(10, 20)]
    assert store.shards.usable(CASE, "new") == [Range(10, 20)]
    assert save(store, 0, 10, weights="new")
    assert sorted(stored(store, "new")) == [Range(0, 10), Range(10, 20)]


def test_merging_joins_what_touches_keeps_gaps_and_changes_no_row(store):
    for start, stop in ((0, 10), (10, 20), (15, 25), (40, 50)):
        save(store, start, stop)
    assert store.shards.merge(CASE)
    assert sorted(stored(store)) == [Range(0, 25), Range(40, 50)]
    assert not store.shards.merge(CASE)
    merged = pq.read_table(file(store, f"shards/{CASE}/0-25.parquet"))
    assert merged["sample"].to_pylist() == list(range(25))
    assert merged.schema.remove_metadata().equals(SAMPLES.remove_metadata())


def test_a_merge_that_was_killed_before_it_removed_the_parts_counts_nothing_twice(store, monkeypatch):
    for start in (0, 10):
        save(store, start, start + 10)
    monkeypatch.setattr(Files, "remove", lambda files, path: None)
    store.shards.merge(CASE)
    monkeypatch.undo()
    assert sum(s.take for s in cover(stored(store))) == 20
    store.shards.merge(CASE)
    assert stored(store) == [Range(0, 20)]


def test_a_file_that_is_merged_while_it_is_looked_for_is_found_in_the_merged_one(store, monkeypatch):
    for start in (0, 10):
        save(store, start, start + 10)
    real = Files.open

    def merge_first(files, path):
        monkeypatch.setattr(Files, "open", real)
        store.shards.merge(CASE)
        return real(files, path)

    monkeypatch.setattr(Files, "open", merge_first)
    assert stored(store) == [Range(0, 20)]


def save_cell(store, weights=b"weights"):
    return store.cells.save("c", weights, HISTORY.empty_table(), {"cell_id": "c"})


def test_of_two_workers_that_train_a_cell_the_first_one_counts(store):
    assert save_cell(store, b"first")
    assert not save_cell(store, b"second")
    assert store.cells.load("c")[0] == b"first"


def test_a_cell_with_torn_weights_is_not_there_and_is_replaced(store):
    save_cell(store)
    file(store, "cells/c/weights.safetensors").write_bytes(b"wei")
    assert store.cells.facts("c") is None
    with pytest.raises(ForeignFileError, match="not whole"):
        store.cells.load("c")
    assert save_cell(store)
    assert store.cells.load("c")[0] == b"weights"
    assert [facts["cell_id"] for facts in store.cells.all()] == ["c"]


def test_changed_weights_of_the_same_size_are_noticed_when_loaded(store):
    save_cell(store)
    file(store, "cells/c/weights.safetensors").write_bytes(b"WEIGHTS")
    with pytest.raises(ForeignFileError, match=r"weights.safetensors: its SHA-256 is not the one in cell.json"):
        store.cells.load("c")


def test_a_store_of_a_newer_attackgrid_is_refused(store):
    newer = {"format": FORMAT + 1, "attackgrid": "9.0"}
    file(store, "store.json").write_text(json.dumps(newer))
    with pytest.raises(StoreVersionError, match=r"written by attackgrid 9.0 in store format 2.*Update attackgrid"):
        Store(store.location)


def test_a_directory_with_other_things_in_it_is_no_store(tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(StoreError, match=r"not a store: it has files, but no store\.json"):
        Store(str(tmp_path))


def test_a_store_that_is_not_there_is_said_with_what_would_make_it(tmp_path):
    with pytest.raises(StoreError, match=r"no store here.*attackgrid launch SPEC --store"):
        Store.existing(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_an_edited_grid_replaces_what_is_wanted(store):
    for document in ("one", "two"):
        store.grids.save("g", document, WANTED.empty_table(), WANTED.empty_table())
    assert store.grids.names() == ["g"]
    assert store.grids.document("g") == "two"


def test_a_failure_is_kept_beside_earlier_ones_of_the_same_task(store):
    for moment in ("2026-01-01T00:00:01", "2026-01-01T00:00:02"):
        store.failures.save("t", moment, {"attempt": 1, "time": moment})
    assert [f["time"] for f in store.failures.all()] == ["2026-01-01T00:00:01", "2026-01-01T00:00:02"]


def test_a_record_that_is_no_json_is_named(store):
    file(store, "runs/r").mkdir(parents=True)
    file(store, "runs/r/run.json").write_bytes(b"{torn")
    with pytest.raises(ForeignFileError, match=r"runs/r/run\.json: not JSON"):
        list(store.runs.all())
