import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from grid.errors import ForeignFileError, StoreError, StoreVersionError
from grid.ranges import Range, cover
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


def save(store, start, stop, weights="w"):
    return store.save_shard(CASE, Range(start, stop), rows(start, stop), weights, "{}")


def stored(store, weights="w"):
    return [f.positions for f in store.inventory(CASE, weights).whole]


def test_a_shard_is_stored_once_whoever_comes_second(store):
    assert save(store, 0, 10)
    assert not save(store, 0, 10)
    assert stored(store) == [Range(0, 10)]
    assert store.cases_with_shards() == {CASE}


def test_a_torn_an_empty_and_a_foreign_file_are_named_and_do_not_count(store):
    for start in (0, 10, 20, 30):
        save(store, start, start + 10)
    path = store.files.absolute(f"shards/{CASE}")
    whole = (store.files.read(f"shards/{CASE}/0-10.parquet"), store.files.read(f"shards/{CASE}/20-30.parquet"))
    with open(f"{path}/0-10.parquet", "wb") as file:
        file.write(whole[0][:-20])
    open(f"{path}/10-20.parquet", "wb").close()
    with open(f"{path}/30-45.parquet", "wb") as file:
        file.write(whole[1])
    store.files.commit("shards/fedcba9876543210/0-10.parquet", whole[1])
    found = store.inventory(CASE, "w")
    assert [f.positions for f in found.whole] == [Range(20, 30), Range(30, 40)]
    assert dict(found.broken) == {
        f"shards/{CASE}/0-10.parquet": "torn, or no Parquet file",
        f"shards/{CASE}/10-20.parquet": "torn, or no Parquet file",
        f"shards/{CASE}/30-45.parquet": "10 rows, where its name says 15",
    }
    (foreign,) = store.inventory("fedcba9876543210", "w").broken
    assert foreign[1] == "not written by attackgrid for this case"


def test_a_temporary_file_is_no_result(store):
    save(store, 0, 10)
    data = store.files.read(f"shards/{CASE}/0-10.parquet")
    store.files.commit(f"shards/{CASE}/.10-20.parquet.1234.tmp", data)
    assert stored(store) == [Range(0, 10)]


def test_results_of_other_weights_do_not_count_and_are_set_aside_to_be_redone(store):
    save(store, 0, 10, weights="old")
    save(store, 10, 20, weights="new")
    assert stored(store, "new") == [Range(10, 20)]
    assert store.usable(CASE, "new") == [Range(10, 20)]
    assert save(store, 0, 10, weights="new")
    assert sorted(stored(store, "new")) == [Range(0, 10), Range(10, 20)]


def test_compacting_merges_what_touches_keeps_gaps_and_changes_no_row(store):
    for start, stop in ((0, 10), (10, 20), (15, 25), (40, 50)):
        save(store, start, stop)
    assert store.compact(CASE)
    assert sorted(stored(store)) == [Range(0, 25), Range(40, 50)]
    assert not store.compact(CASE)
    merged = pq.read_table(store.files.absolute(f"shards/{CASE}/0-25.parquet"))
    assert merged["sample"].to_pylist() == list(range(25))
    assert merged.schema.remove_metadata().equals(SAMPLES.remove_metadata())


def test_a_compaction_that_was_killed_before_it_removed_the_parts_counts_nothing_twice(store, monkeypatch):
    for start in (0, 10):
        save(store, start, start + 10)
    monkeypatch.setattr(store.files, "remove", lambda path: None)
    store.compact(CASE)
    monkeypatch.undo()
    assert sum(s.take for s in cover(stored(store))) == 20
    store.compact(CASE)
    assert stored(store) == [Range(0, 20)]


def test_a_file_that_is_merged_while_it_is_looked_for_is_found_in_the_merged_one(store, monkeypatch):
    for start in (0, 10):
        save(store, start, start + 10)
    real = store.files.open

    def merge_first(path):
        monkeypatch.setattr(store.files, "open", real)
        store.compact(CASE)
        return real(path)

    monkeypatch.setattr(store.files, "open", merge_first)
    assert stored(store) == [Range(0, 20)]


def save_cell(store, weights=b"weights"):
    return store.save_cell("c", weights, HISTORY.empty_table(), {"cell_id": "c"})


def test_of_two_workers_that_train_a_cell_the_first_one_counts(store):
    assert save_cell(store, b"first")
    assert not save_cell(store, b"second")
    assert store.load_weights("c")[0] == b"first"


def test_a_cell_with_torn_weights_is_not_there_and_is_replaced(store):
    save_cell(store)
    with open(store.files.absolute("cells/c/weights.safetensors"), "wb") as file:
        file.write(b"wei")
    assert store.cell_facts("c") is None
    with pytest.raises(ForeignFileError, match="not whole"):
        store.load_weights("c")
    assert save_cell(store)
    assert store.load_weights("c")[0] == b"weights"
    assert [facts["cell_id"] for facts in store.cells()] == ["c"]


def test_changed_weights_of_the_same_size_are_noticed_when_loaded(store):
    save_cell(store)
    with open(store.files.absolute("cells/c/weights.safetensors"), "wb") as file:
        file.write(b"WEIGHTS")
    with pytest.raises(ForeignFileError, match=r"weights.safetensors: its SHA-256 is not the one in cell.json"):
        store.load_weights("c")


def test_a_store_of_a_newer_attackgrid_is_refused(store):
    newer = {"format": FORMAT + 1, "attackgrid": "9.0"}
    store.files.commit("store.json", json.dumps(newer).encode(), replace=True)
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
        store.save_grid("g", document, WANTED.empty_table(), WANTED.empty_table())
    assert store.grids() == ["g"]
    assert store.grid_document("g") == "two"


def test_a_failure_is_kept_beside_earlier_ones_of_the_same_task(store):
    for moment in ("2026-01-01T00:00:01", "2026-01-01T00:00:02"):
        store.record_failure("t", moment, {"attempt": 1, "time": moment})
    assert [f["time"] for f in store.failures()] == ["2026-01-01T00:00:01", "2026-01-01T00:00:02"]


def test_a_record_that_is_no_json_is_named(store):
    store.files.commit("runs/r/run.json", b"{torn")
    with pytest.raises(ForeignFileError, match=r"runs/r/run\.json: not JSON"):
        list(store.runs())
