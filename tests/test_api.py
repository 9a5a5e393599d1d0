"""`import attackgrid`: the face for notebooks, and where the command starts."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import attackgrid as ag
import pytest
from grids import environment, launch, write_spec

from grid.store.store import Store

ROOT = Path(__file__).parent.parent

OWN = '''
from torch import nn
from tasks.registry import component

class Halved(nn.Module):
    def forward(self, net):
        return net[:, ::2]

@component("activation", version=1)
def halved():
    """Every second unit."""
    return Halved()
'''


def python(*words, cwd, **variables):
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, check=False, cwd=cwd, env=environment() | variables, capture_output=True, text=True)


def test_a_grid_is_checked_launched_and_asked_from_python(tmp_path):
    spec = write_spec(tmp_path, attacks=[{"fgsm": {"eps": "8/255"}}])
    assert ag.check(spec) == {"cells": 2, "cases": 2, "samples": 80}
    outcome = ag.launch(spec, tmp_path / "store", address="inline", cpus=1, quiet=True)
    assert (outcome.word, outcome.exit_code, outcome.facts["samples"]) == ("complete", 0, 80)
    store = ag.open(tmp_path / "store")
    assert store.grids == ["toy"]
    assert store.table("robust_accuracy").num_rows == 4
    assert store.table("robust_accuracy", where="head=softmax").num_rows == 2
    assert store.sql("select count(*) as n from samples", where=["head=softmax"]).to_pylist() == [{"n": 40}]
    with pytest.raises(ag.UsageError, match="Did you mean 'robust_accuracy'"):
        store.table("robust_acuracy")
    assert launch(spec, tmp_path / "store").exit_code == 0


def test_what_is_wrong_is_raised_as_on_the_command_line(tmp_path):
    with pytest.raises(ag.SpecError, match="unknown attack 'fgms'"):
        ag.check(write_spec(tmp_path, attacks=["fgms"]))
    with pytest.raises(ag.UsageError, match="Did you mean 'quickstart'"):
        ag.check("quickstrat")
    with pytest.raises(ag.StoreError, match="no store here"):
        ag.open(tmp_path / "nothing")
    Store(str(tmp_path / "empty")).create()
    with pytest.raises(ag.UsageError, match="no grid has been launched here"):
        ag.open(tmp_path / "empty").table("worst_case")


def test_nothing_heavy_is_imported_before_it_is_asked_for(tmp_path):
    code = (
        "import sys, attackgrid; print([m for m in ('grid', 'torch', 'pyarrow', 'duckdb', 'ray') if m in sys.modules])"
    )
    assert python("-c", code, cwd=tmp_path).stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["tasks", "grid"])
def test_a_file_of_the_users_that_hides_a_package_is_named(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("")
    done = python("-m", "attackgrid", "--help", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{name}.py under that name: rename it" in done.stderr
    assert "Traceback" not in done.stderr
    asked = python("-c", "import attackgrid; attackgrid.check", cwd=tmp_path)
    assert f"HiddenError: attackgrid has a package named '{name}'" in asked.stderr


def test_every_package_is_in_the_wheel():
    import tomllib  # noqa: PLC0415 - only this test reads the settings

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {path.parent.relative_to(ROOT) for top in ("grid", "tasks") for path in (ROOT / top).rglob("__init__.py")}
    expected = {".".join(path.parts) for path in there} - {"grid.api"} | {"attackgrid", "attackgrid.specs"}
    assert sorted(listed) == sorted(expected)


@pytest.mark.slow
def test_the_wheel_runs_a_shipped_spec_from_another_folder(tmp_path):
    command = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path]
    source = tmp_path / "source"  # a build leaves its folder behind, and would find that of the one before
    for folder in ("grid", "tasks", "specs"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source / file)
    build = python("-m", *command, source, cwd=tmp_path)
    assert build.returncode == 0, build.stderr
    (wheel,) = tmp_path.glob("attackgrid-*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = ("launch", "quickstart", "--profile", "smoke", "--store", "S", "--address", "inline", "--cpus", 1)
    done = python("-m", "attackgrid", *words, cwd=elsewhere, PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    table = python("-m", "attackgrid", "table", "S", cwd=elsewhere, PYTHONPATH=str(tmp_path / "site"))
    assert "robust accuracy · grid quickstart" in table.stdout
    (elsewhere / "own.py").write_text(OWN)
    asked = python("-P", "-m", "attackgrid", "test", "own:halved", cwd=elsewhere, PYTHONPATH=str(tmp_path / "site"))
    assert asked.returncode == 5, asked.stderr
    assert "of (6, 8) it made (6, 4)" in asked.stdout
    where = python("-c", "import grid; print(grid.__file__)", cwd=elsewhere, PYTHONPATH=str(tmp_path / "site"))
    assert str(tmp_path / "site") in where.stdout
