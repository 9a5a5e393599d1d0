import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyarrow import fs

from grid.errors import StoreError
from grid.store.files import Files


@pytest.fixture(params=["local", "bucket"])
def files(request, tmp_path):
    made = Files(str(tmp_path))
    if request.param == "bucket":
        made.local = False  # the same directory through pyarrow alone, as a bucket is reached
        made._fs = fs.SubTreeFileSystem("/", fs.LocalFileSystem())
        for folder in ("a", "a/b", "cells", "cells/c"):
            (tmp_path / folder).mkdir()  # a bucket has no folders to make
    return made


def test_what_is_committed_is_read_back_and_the_first_commit_wins(files):
    assert files.commit("a/b/one", b"first")
    assert not files.commit("a/b/one", b"second")
    assert files.read("a/b/one") == b"first"
    assert files.commit("a/b/one", b"third", replace=True)
    assert files.read("a/b/one") == b"third"
    assert files.names("a/b") == ["one"]
    assert files.size("a/b/one") == 5
    assert files.names("nowhere") == []
    assert files.size("nowhere") is None


def test_a_folder_is_committed_whole_and_only_once(files):
    assert files.commit_folder("cells/c", {"w": b"1", "cell.json": b"{}"}, marker="cell.json")
    assert not files.commit_folder("cells/c", {"w": b"2", "cell.json": b"{}"}, marker="cell.json")
    assert files.read("cells/c/w") == b"1"


def test_of_many_commits_at_the_same_moment_exactly_one_wins(tmp_path):
    files = Files(str(tmp_path))
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda i: files.commit("x/y", str(i).encode() * 1000), range(64)))
    assert sum(won) == 1
    assert files.read("x/y") == str(won.index(True)).encode() * 1000
    assert os.listdir(tmp_path / "x") == ["y"]


def test_a_folder_without_its_marker_is_set_aside_for_a_whole_one(tmp_path):
    files = Files(str(tmp_path))
    (tmp_path / "cells/c").mkdir(parents=True)
    (tmp_path / "cells/c/w").write_bytes(b"torn")
    assert files.commit_folder("cells/c", {"w": b"1", "cell.json": b"{}"}, marker="cell.json")
    assert files.read("cells/c/w") == b"1"
    aside = [name for name in files.names("cells") if name.startswith("c.aside")]
    assert (tmp_path / "cells" / aside[0] / "w").read_bytes() == b"torn"


@pytest.mark.parametrize("failing", ["fsync", "link"])
def test_a_full_disk_is_a_store_error_and_leaves_nothing(tmp_path, monkeypatch, failing):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    files = Files(str(tmp_path))
    files.commit("x/kept", b"kept")
    monkeypatch.setattr(os, failing, full)
    with pytest.raises(StoreError, match=r"x/new: cannot be written: No space left on device"):
        files.commit("x/new", b"data")
    monkeypatch.undo()
    assert os.listdir(tmp_path / "x") == ["kept"]


def test_a_place_that_cannot_be_written_is_a_store_error(tmp_path):
    Path(tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        Files(str(tmp_path / "file")).commit("a", b"data")


def test_a_location_that_is_no_location_is_a_store_error():
    with pytest.raises(StoreError, match="not a store location"):
        Files("nonsense://bucket/store")


def test_a_folder_that_another_process_removes_all_the_time_does_not_fail_a_commit(tmp_path):
    """As two launches do: one says how far a training is while the other, which is done, removes what was kept."""
    writer, remover = Files(str(tmp_path)), Files(str(tmp_path))

    def write():
        return [writer.commit("training/c/progress.json", b"{}", replace=True) for _ in range(300)]

    def remove():
        for _ in range(150):
            time.sleep(0.001)
            remover.remove_folder("training/c")

    with ThreadPoolExecutor(3) as pool:
        writing, removing = [pool.submit(write) for _ in range(2)], pool.submit(remove)
        assert all(all(done.result()) for done in writing)
        removing.result()
    remover.remove_folder("training/c")
    assert writer.names("training") == []
