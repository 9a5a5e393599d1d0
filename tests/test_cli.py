"""The commands as a user types them: what they print, where, and with which exit code."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from grids import answered, call, launch, rows, write_spec

from grid.store import files
from tasks.schema import FORMAT

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "ray", "duckdb", "pyarrow", "sklearn", "torchvision"}


PROBE = """
import json, sys
from grid.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(json.dumps([end.code or 0, *sys.modules]), file=sys.stderr)
"""


def imported(*words):
    """Modules that a command has imported when it ends, and its exit code."""
    run = subprocess.run([sys.executable, "-c", PROBE, *map(str, words)], capture_output=True, text=True, check=True)
    code, *modules = json.loads(run.stderr.splitlines()[-1])
    return {module.split(".")[0] for module in modules}, code


@pytest.mark.parametrize("words", [["--help"], ["check", ROOT / "specs/quickstart.yaml"], ["list", "heads", "--help"]])
def test_help_and_check_import_nothing_heavy(words):
    modules, code = imported(*words)
    assert code == 0
    assert not modules & HEAVY


def test_planning_imports_no_torch_and_no_ray(tmp_path):
    modules, code = imported("plan", ROOT / "specs/quickstart.yaml", "--store", tmp_path / "store")
    assert code == 0
    assert not modules & {"torch", "ray"}


def test_python_m_grid_is_the_command():
    run = subprocess.run([sys.executable, "-m", "grid", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("attackgrid, version ")


BAD_SPECS = [
    ({"sampels": 3}, "sampels"),
    ({"samples": {"count": "many"}}, "samples.count"),
    ({"cells": []}, "cells"),
    ({"attacks": [{"fgsm": {"eps": -0.1}}]}, "attacks.0.fgsm.eps"),
    ({"attacks": ["fgsm"]}, "eps"),
    ({"attacks": [{"pdg": {"eps": 0.1}}]}, "Did you mean 'pgd'?"),
    ({"attacks": [{"pgd": {"eps": 0.1, "stesp": 3}}]}, "Did you mean 'steps'?"),
    ({"exclude": [{"head": "cons"}]}, "exclude.0"),
    ({"tables": ["robust_acuracy"]}, "Did you mean 'robust_accuracy'?"),
]


@pytest.mark.parametrize(("change", "said"), BAD_SPECS)
@pytest.mark.parametrize("command", ["check", "plan", "launch"])
def test_a_bad_spec_is_said_with_exit_code_2_and_nothing_is_written(tmp_path, change, said, command):
    spec = write_spec(tmp_path, **change)
    store = tmp_path / "store"
    result = call(command, spec, *([] if command == "check" else ["--store", store]))
    assert result.exit_code == 2
    assert re.search(r"toy\.yaml: \d+ problems?\n  line \d+, ", result.stderr)
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not store.exists()


def test_a_duplicate_key_is_said_with_its_line(tmp_path):
    spec = write_spec(tmp_path)
    spec.write_text(spec.read_text() + "name: again\n")
    result = call("check", spec)
    assert result.exit_code == 2
    assert "name" in result.stderr
    assert "line" in result.stderr


def test_check_lists_all_problems_at_once_and_as_json_too(tmp_path):
    spec = write_spec(tmp_path, sampels=3, tables=["no"], attacks=["fgsm", {"pgd": {"eps": "much"}}])
    problems = json.loads(call("check", spec, "--json").stdout)["problems"]
    assert len(problems) >= 4
    assert all(p["line"] > 0 for p in problems)


def test_a_spec_that_is_not_there_is_said(tmp_path):
    result = call("check", tmp_path / "no.yaml")
    assert result.exit_code == 2
    assert "no.yaml" in result.stderr


@pytest.mark.parametrize("command", [["table"], ["status"], ["resume"], ["tidy"], ["sql"]])
def test_a_store_that_is_not_there_is_said_with_exit_code_4(tmp_path, command):
    words = [*command, tmp_path / "nowhere", *(["select 1"] if command == ["sql"] else [])]
    result = call(*words)
    assert result.exit_code == 4
    assert "no store here" in result.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_store_of_a_newer_attackgrid_is_refused_by_every_command(tmp_path):
    spec, store = write_spec(tmp_path), tmp_path / "store"
    store.mkdir()
    (store / "store.json").write_text(json.dumps({"format": FORMAT + 1, "attackgrid": "9"}))
    for words in (["table", store], ["status", store], ["plan", spec, "--store", store], ["sql", store, "select 1"]):
        result = call(*words)
        assert result.exit_code == 4
        assert "Update attackgrid" in result.stderr
    assert launch(spec, store).exit_code == 4
    assert [p.name for p in store.iterdir()] == ["store.json"]


def test_a_store_that_cannot_be_written_is_said_with_exit_code_4(tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = launch(write_spec(tmp_path), tmp_path / "file" / "store")
    assert result.exit_code == 4
    assert "cannot be" in result.stderr
    assert "Traceback" not in result.stderr


def mounted(folder, options):
    """A file system of its own at the folder, where this is allowed."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    return folder


def test_a_disk_that_is_really_full_ends_the_run_with_exit_code_4_and_keeps_what_was_stored(tmp_path):
    spec, disk = write_spec(tmp_path), mounted(tmp_path / "disk", "size=100k")
    try:
        result = launch(spec, disk / "store")
        assert result.exit_code == 4
        assert "No space left on device" in result.stderr
        assert "Nothing stored so far is lost" in result.stderr
        assert "Traceback" not in result.stderr
        subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
        assert launch(spec, disk / "store").exit_code == 0
        assert len(rows(disk / "store")) == 160
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        read_only = launch(write_spec(tmp_path, seeds=[1]), disk / "store")
        assert read_only.exit_code == 4
        assert "Read-only file system" in read_only.stderr
        assert call("table", disk / "store").exit_code == 0
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_disk_that_fills_up_loses_nothing_that_was_stored(tmp_path, monkeypatch):
    spec, store = write_spec(tmp_path), tmp_path / "store"
    real, left = os.fsync, 12

    def fsync(descriptor):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", fsync)
    result = launch(spec, store)
    assert result.exit_code == 4
    assert "No space left on device" in result.stderr
    monkeypatch.undo()
    kept = len(rows(store))
    assert 0 < kept < 160
    assert launch(spec, store).exit_code == 0
    assert len(rows(store)) == 160


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    assert launch(write_spec(folder), folder / "store").exit_code == 0
    return folder / "store"


@pytest.mark.parametrize("form", ["text", "markdown", "csv", "latex", "json"])
def test_every_format_has_every_row(store, form):
    result = call("table", store, "robust_accuracy", "--format", form)
    assert result.exit_code == 0
    assert result.stdout.count("fgsm") >= 2


def test_all_tables_as_json_are_one_object(store):
    (found,) = json.loads(call("table", store, "--json").stdout)["tables"]
    assert (found["grid"], found["table"]) == ("toy", "robust_accuracy")
    assert len(found["rows"]) == 6


@pytest.mark.parametrize("view", ["cells", "cases", "samples", "coverage", "failures", "runs"])
def test_every_view_can_be_asked(store, view):
    (counted,) = answered(call("sql", store, f"select count(*) as n from {view}", "--json"))
    assert counted["n"] == {"cells": 2, "cases": 4, "samples": 160, "coverage": 4, "failures": 0, "runs": 1}[view]


@pytest.mark.parametrize(
    "statement", ["drop view samples", "create table x as select 1", "copy samples to 'x.csv'", "select 1; select 2"]
)
def test_a_statement_that_would_write_is_refused_with_exit_code_2(store, tmp_path, monkeypatch, statement):
    monkeypatch.chdir(tmp_path)
    result = call("sql", store, statement)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_status_says_what_is_missing_and_ends_with_3_until_nothing_is(tmp_path):
    store = tmp_path / "store"
    launch(write_spec(tmp_path), store)
    assert call("status", store).exit_code == 0
    min((store / "shards").rglob("*.parquet")).unlink()
    result = call("status", store, "--json")
    assert result.exit_code == 3
    assert sum(row["missing"] for row in answered(result)) == 10
    assert call("resume", store, "--address", "inline", "--quiet").exit_code == 0
    assert call("status", store).exit_code == 0


def test_an_unknown_table_or_grid_is_said_with_those_there_are(store):
    assert "unknown table 'no'. Known: a file of SQL, certified" in call("table", store, "no").stderr
    for command in (["table"], ["sql", "select 1"], ["status"], ["resume"]):
        asked = call(command[0], store, *command[1:], "--grid", "no")
        assert (asked.exit_code, asked.stdout) == (2, "")
        assert "unknown grid 'no'. Known: toy" in asked.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["check", "no.yaml"], 2),
        (["check", "no"], 2),
        (["check"], 2),
        (["plan", "no.yaml", "--store", "S"], 2),
        (["launch", "no.yaml", "--store", "S"], 2),
        (["table", "no"], 4),
        (["sql", "no", "select 1"], 4),
        (["status", "no"], 4),
        (["resume", "no"], 4),
        (["tidy", "no"], 4),
        (["list", "no"], 2),
        (["list", "attacks", "no"], 2),
        (["list", "attacks", "--colour"], 2),
        (["table"], 2),
    ],
)
def test_json_is_one_object_also_where_something_is_wrong(tmp_path, monkeypatch, words, code):
    monkeypatch.chdir(tmp_path)
    result = call(*words, "--json")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["ok"], said["exit_code"]) == (code, False, code)
    assert said["message"]
    assert said["message"].splitlines()[0] in result.stderr


def test_json_is_one_object_of_every_command(tmp_path, store):
    spec = write_spec(tmp_path, attacks=["deepfool"], samples={"count": 10})
    inline = ("--address", "inline", "--quiet")
    for words in (
        ["check", spec],
        ["check", "--schema"],
        ["plan", spec, "--store", store],
        ["launch", spec, "--store", tmp_path / "new", *inline],
        ["resume", store, *inline],
        ["status", store],
        ["tidy", store],
        ["table", store],
        ["table", store, "worst_case"],
        ["sql", store, "select 1 as one"],
        ["list", "attacks"],
        ["list", "specs"],
        ["list", "attack", "pgd"],
    ):
        assert isinstance(json.loads(call(*words, "--json").stdout), dict), words


def test_what_is_printed_can_go_to_a_file(tmp_path, store):
    for words in (["table", store, "--format", "csv"], ["sql", store, "select 1 as one"], ["list", "heads"]):
        shown, path = call(*words).stdout, tmp_path / "out.txt"
        result = call(*words, "-o", path)
        assert (result.stdout, path.read_text()) == ("", shown)
    assert call("list", "heads", "-o", tmp_path / "no" / "out.txt").exit_code == 2


def test_where_and_grid_narrow_every_question(store):
    heads = "select distinct head from samples order by all"
    assert answered(call("sql", store, heads, "--json", "--where", "head=softmax")) == [{"head": "softmax"}]
    assert len(answered(call("table", store, "--json", "--where", "head=softmax,attack=fgsm"))) == 2
    assert {row["cell"].split(" / ")[3] for row in
            answered(call("status", store, "--json", "--where", "head=softmax"))} == {"softmax"}  # fmt: skip
    wrong = call("sql", store, heads, "--where", "heat=softmax")
    assert (wrong.exit_code, "Did you mean 'head'" in wrong.stderr) == (2, True)


def test_a_component_is_listed_with_all_that_is_known_of_it():
    text = call("list", "attacks", "pgd").stdout
    assert "https://arxiv.org/abs/1706.06083" in text
    assert "random_start  bool" in text
    told = json.loads(call("list", "attack", "pgd", "--json").stdout)
    assert (told["name"], told["norms"], told["rows"][0]["parameter"]) == ("pgd", "linf, l2", "steps")
    assert "Did you mean 'pgd'" in call("list", "attacks", "pdg").stderr


@pytest.mark.parametrize("kind", ["datasets", "attacks", "trainings", "specs"])
def test_everything_that_is_listed_can_be_listed_by_its_name(kind):
    for row in answered(call("list", kind, "--json")):
        assert json.loads(call("list", kind, row["name"], "--json").stdout)["name"] == row["name"]
    assert "Known: " in call("list", kind, "nothing-like-it").stderr


def test_shipped_specs_go_by_name_wherever_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "quickstart: ok: 2 cells, 11 cases" in call("check", "quickstart").stdout
    assert "quickstart" in [row["name"] for row in answered(call("list", "specs", "--json"))]
    assert "Did you mean 'quickstart'" in call("check", "quickstrat").stderr
    (tmp_path / "quickstart").mkdir()  # a folder of that name, such as a store, is no spec
    assert call("check", "quickstart").exit_code == 0
    (tmp_path / "quickstart").rmdir()
    (tmp_path / "quickstart").write_text("name: mine\n")  # a file of that name is the file
    assert "line 1, cells" in call("check", "quickstart").stderr


@pytest.mark.parametrize(
    "kind", ["datasets", "architectures", "activations", "heads", "defenses", "trainings", "attacks"]
)
def test_components_are_listed_with_their_parameters(kind):
    listed = answered(call("list", kind, "--json"))
    assert listed
    assert all(row["summary"] for row in listed)
    assert call("list", kind).exit_code == 0


def test_an_unknown_kind_is_said_with_those_there_are():
    result = call("list", "atacks")
    assert result.exit_code == 2
    assert "attacks" in result.stderr


def test_the_schema_is_json():
    assert json.loads(call("check", "--schema").stdout)["$schema"].startswith("https://json-schema.org/")
