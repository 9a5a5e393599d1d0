"""The files around the code: they parse, and agree with pyproject.toml and with each other."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import grid

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]


def read(name):
    return yaml.safe_load((ROOT / name).read_text())


def makefile():
    return (ROOT / "Makefile").read_text()


def targets():
    return set(re.findall(r"^([a-z]+):", makefile(), re.MULTILINE))


def test_the_version_is_said_once_and_the_package_has_it():
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    module, _, name = SETTINGS["tool"]["setuptools"]["dynamic"]["version"]["attr"].rpartition(".")
    assert getattr(sys.modules[module], name) == grid.__version__


def test_the_citation_is_of_this_project_and_version():
    citation = read("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert (citation["title"], citation["license"]) == (PROJECT["name"], PROJECT["license"])
    assert citation["version"] == grid.__version__
    assert citation["abstract"] == PROJECT["description"]


def test_the_newest_version_of_the_changelog_is_this_one():
    headings = re.findall(r"^## (.+)$", (ROOT / ".github/CHANGELOG.md").read_text(), re.MULTILINE)
    versions = [heading for heading in headings if heading != "Unreleased"]
    assert versions[0] == grid.__version__
    assert headings[0] in {"Unreleased", grid.__version__}
    assert versions == sorted(versions, key=lambda version: [int(part) for part in version.split(".")], reverse=True)


def test_ci_runs_what_contributors_run_on_every_python_that_is_promised():
    workflow = read(".github/workflows/ci.yml")
    [job] = workflow["jobs"].values()
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert job["strategy"]["matrix"]["python"][0] == oldest == "3.11"
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["make check test"]
    assert all(set(command.split()[1:]) <= targets() for command in commands)
    assert commands[0] in (ROOT / ".ci/run").read_text()
    [python] = [step["with"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
    assert (python["cache"], python["cache-dependency-path"]) == ("pip", "pyproject.toml")


def test_what_is_checked_before_a_commit_is_part_of_make_check():
    [repository] = read(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    checks = (ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0]
    tools = {Path(hook["entry"].split()[0]).name for hook in repository["hooks"]}
    assert tools == {"ruff", "mypy"}
    assert [hook["id"] for hook in repository["hooks"]] == ["ruff", "ruff-format", "mypy"]
    assert all(f"$(BIN)/{tool}" in checks for tool in tools)
    assert all(hook["entry"].startswith(".venv/bin/") and hook["language"] == "system" for hook in repository["hooks"])


def test_the_linter_is_set_to_the_oldest_python_that_is_promised():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert SETTINGS["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")


def test_coverage_is_asked_for_by_make_test_and_fails_below_ninety_per_cent():
    assert re.search(r"^\t\S+/python -m pytest --cov --cov-append tests/test_ray.py$", makefile(), re.MULTILINE)
    assert SETTINGS["tool"]["coverage"]["run"]["source"] == ["grid", "tasks"]
    assert SETTINGS["tool"]["coverage"]["report"]["fail_under"] == 90
    assert any(package.startswith("pytest-cov") for package in PROJECT["optional-dependencies"]["dev"])


@pytest.mark.slow
def test_a_run_of_tests_that_reach_too_little_fails(tmp_path):
    for name in ("pyproject.toml", "grid/ranges.py", "tests/test_ranges.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for package in ("grid", "tasks"):
        (tmp_path / package).mkdir(exist_ok=True)
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "tasks/unreached.py").write_text("\n".join(f"def f{n}():\n    return {n}\n" for n in range(40)))
    words = [sys.executable, "-m", "pytest", "--cov", "tests/test_ranges.py"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "Required test coverage of 90" in run.stdout + run.stderr
