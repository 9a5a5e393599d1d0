"""Stores that this version does not read: every way in says so in one line, and nothing is written there."""

import json
import os

import attackgrid
import pytest
from click.testing import CliRunner
from grids import call, write_spec

from grid import __version__
from grid.cli import main
from grid.errors import ForeignFileError, StoreError, StoreVersionError
from grid.store import store as opening
from grid.store.store import Store
from grid.work.bench import Bench
from grid.work.task import Settings
from grid.work.worker import place
from tasks.schema import FORMAT

NEWER = {"format": FORMAT + 1, "attackgrid": "9.1.0"}

COMMANDS = {
    "plan": ("plan", "SPEC", "--store", "STORE"),
    "launch": ("launch", "SPEC", "--store", "STORE", "--address", "inline"),
    "resume": ("resume", "STORE", "--address", "inline"),
    "tidy": ("tidy", "STORE"),
    "status": ("status", "STORE"),
    "watch": ("status", "STORE", "--watch"),
    "table": ("table", "STORE"),
    "one table": ("table", "STORE", "robust_accuracy", "--where", "head=softmax", "--format", "csv"),
    "sql": ("sql", "STORE", "select 1"),
}
FACE = {
    "open": lambda spec, store: attackgrid.open(store),
    "launch": lambda spec, store: attackgrid.launch(spec, store, address="inline", quiet=True),
    "a bucket": lambda spec, store: Store(store.as_uri()),
}


def store_of(folder, text):
    """A folder with this marker and a file of each kind that a newer version may have."""
    for name in ("cells/c/weights.safetensors", "shards/k/0-10.parquet", "grids/g/wanted.parquet", "plans/new.json"):
        path = folder / "store" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"of a newer version")
    (folder / "store/store.json").write_bytes(text if isinstance(text, bytes) else json.dumps(text).encode())
    return folder / "store"


def listing(folder):
    return {path.relative_to(folder): path.is_file() and path.read_bytes() for path in sorted(folder.rglob("*"))}


def run(words, folder, store):
    spec = write_spec(folder)
    return call(*({"SPEC": spec, "STORE": store}.get(word, word) for word in words))


@pytest.fixture(params=COMMANDS)
def words(request):
    return COMMANDS[request.param]


def test_every_command_with_a_store_is_asked_here(words):
    without = {"check", "list", "test"}
    assert set(main.commands) - without == {each[0] for each in COMMANDS.values()}
    asked = {name for name, command in main.commands.items() if "store" in {p.name for p in command.params}}
    assert asked == set(main.commands) - without


@pytest.mark.parametrize("more", [{}, {"layout": {"shards": "v2"}, "reads": [1, 2]}], ids=["plain", "unknown keys"])
def test_a_command_refuses_a_newer_format_in_one_line_that_names_what_reads_it(tmp_path, words, more):
    store = store_of(tmp_path, {**NEWER, **more})
    before = listing(store)
    result = run(words, tmp_path, store)
    assert result.exit_code == 4
    assert result.stderr == (
        f"attackgrid: {store}: written by attackgrid 9.1.0 in store format {FORMAT + 1}; this is {__version__}, which "
        f"reads format {FORMAT}. Update attackgrid to 9.1.0 or newer.\n"
    )
    assert result.stdout == ""
    assert listing(store) == before


def test_a_command_says_it_as_json_too(tmp_path, words):
    store = store_of(tmp_path, NEWER)
    result = run([*words, "--json"], tmp_path, store)
    said = json.loads(result.stdout)
    assert (said["ok"], said["error"], said["exit_code"], result.exit_code) == (False, "StoreVersion", 4, 4)
    assert "Update attackgrid to 9.1.0" in said["message"]


def test_a_command_refuses_it_where_nothing_can_be_written(tmp_path, words):
    store = store_of(tmp_path, NEWER)
    for path in [*store.rglob("*"), store]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        result = run(words, tmp_path, store)
    finally:
        for path in [store, *store.rglob("*")]:
            path.chmod(0o755)
    assert (result.exit_code, result.stderr.count("\n")) == (4, 1)
    assert "Update attackgrid to 9.1.0 or newer." in result.stderr


@pytest.mark.parametrize("way", FACE)
def test_the_python_face_and_a_bucket_refuse_it_as_well(tmp_path, way):
    store = store_of(tmp_path, NEWER)
    before = listing(store)
    with pytest.raises(StoreVersionError, match=r"^[^\n]*Update attackgrid to 9\.1\.0 or newer\.$"):
        FACE[way](write_spec(tmp_path), store)
    assert listing(store) == before


def test_a_worker_that_is_older_than_the_store_refuses_it(tmp_path):
    store = store_of(tmp_path, NEWER)
    settings = Settings(str(store), str(tmp_path), "r", download=False, batch_size=1, fixed_batch=None)
    with pytest.raises(StoreVersionError, match=r"Update attackgrid"):
        Bench(settings, place())


DAMAGED = {
    "empty": (b"", "Expecting value"),
    "torn": (b'{"format": 1, "attac', "Unterminated string"),
    "not text": (b"\x80" * 5000, "not text"),
    "a list": (b"[1]", "it names no format"),
    "null": (b"null", "it names no format"),
    "no format": (b'{"attackgrid": "0.1.0"}', "it names no format"),
    "format as text": (b'{"format": "1"}', "it names no format"),
    "format true": (b'{"format": true}', "it names no format"),
    "format 1.5": (b'{"format": 1.5}', "it names no format"),
    "format infinite": (b'{"format": 1e999}', "it names no format"),
    "format 0": (b'{"format": 0}', "it names no format"),
    "format beyond all": (b'{"format": ' + b"9" * 4000 + b"}", "it names no format"),
    "format of many digits": (b'{"format": ' + b"9" * 9000 + b"}", "Exceeds the limit"),
    "deep": (b"[" * 100_000, "recursion"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_marker_is_said_in_one_line(tmp_path, damage):
    text, why = DAMAGED[damage]
    store = store_of(tmp_path, text)
    before = listing(store)
    with pytest.raises(ForeignFileError, match=rf"store/store\.json: not the marker of a store: .*{why}") as error:
        Store(str(store))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300 + len(str(store))
    assert listing(store) == before


def test_a_command_says_that_the_marker_is_damaged_and_writes_nothing(tmp_path, words):
    store = store_of(tmp_path, b'{"format": 1, "attac')
    before = listing(store)
    result = run(words, tmp_path, store)
    assert result.exit_code == 4
    assert result.stderr.startswith(f"attackgrid: {store}/store.json: not the marker of a store: ")
    assert result.stderr.count("\n") == 1
    assert listing(store) == before


def test_a_marker_that_is_a_folder_is_said(tmp_path, words):
    (tmp_path / "store/store.json").mkdir(parents=True)
    result = run(words, tmp_path, tmp_path / "store")
    assert (result.exit_code, result.stderr.count("\n")) == (4, 1)
    assert "store.json" in result.stderr
    assert os.listdir(tmp_path / "store") == ["store.json"]


@pytest.mark.parametrize("writer", [None, 9, "", "9\n0", "a version", "9" * 41, ["9"]])
def test_a_newer_store_that_does_not_say_by_what_it_was_written_is_refused_in_one_line(tmp_path, writer):
    store = store_of(tmp_path, {"format": FORMAT + 1, "attackgrid": writer})
    with pytest.raises(StoreVersionError, match=r"written by another attackgrid in .* Update attackgrid\.$") as error:
        Store(str(store))
    assert "\n" not in str(error.value)


def test_a_store_of_an_older_format_is_refused_with_the_version_that_reads_it(tmp_path, words, monkeypatch):
    store = store_of(tmp_path, {"format": FORMAT, "attackgrid": "0.1.0"})
    before = listing(store)
    monkeypatch.setattr(opening, "FORMAT", FORMAT + 1)
    result = run(words, tmp_path, store)
    assert result.exit_code == 4
    assert result.stderr.endswith(f"which reads format {FORMAT + 1}. attackgrid 0.1.0 reads it.\n")
    assert result.stderr.count("\n") == 1
    assert listing(store) == before


def test_unknown_keys_in_the_marker_of_a_format_that_is_known_are_let_be(tmp_path):
    store = store_of(tmp_path, {"format": FORMAT, "attackgrid": "0.9.0", "note": "of a later minor version"})
    before = listing(store)
    Store(str(store)).create()
    assert (store / "store.json").read_bytes() == before[(store / "store.json").relative_to(store)]


def test_of_two_versions_that_begin_a_store_at_the_same_time_the_second_one_gives_way(tmp_path):
    mine = Store(str(tmp_path / "store"))
    store_of(tmp_path, NEWER)
    before = listing(tmp_path / "store")
    with pytest.raises(StoreVersionError, match=r"Update attackgrid to 9\.1\.0"):
        mine.create()
    assert listing(tmp_path / "store") == before


def test_what_a_launch_makes_names_the_format_and_the_version(tmp_path):
    Store(str(tmp_path / "store")).create()
    assert json.loads((tmp_path / "store/store.json").read_text()) == {"format": FORMAT, "attackgrid": __version__}
    assert CliRunner().invoke(main, ["--version"]).stdout.strip().endswith(__version__)
    with pytest.raises(StoreError, match="not a store"):
        Store(str(tmp_path))
