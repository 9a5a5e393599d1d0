"""The documentation: what is generated is up to date, what is named is there, every example runs as it is printed."""

import re
import shlex
import sys

import documents
import pytest
import yaml
from documents import DOCUMENTS, ROOT
from grids import call, launch, write_spec
from torch import nn

from grid.cli import main
from grid.plan.rule_index import AXES
from grid.questions import METRICS, TABLES
from grid.results.contents import connect
from grid.results.query import run_sql
from grid.spec.keys import BLOCK_KEYS, HARNESS_KEYS, KEYS, PROBE_KEYS, SOURCE
from grid.spec.listing import rows as components
from grid.store.store import Store
from tasks import registry
from tasks.config import Component
from tasks.refusals import OF_ATTACK, PART_OF, reasons, widths
from tasks.types import TaskError

MOST_WORDS = 1_500
BASE = {"name": "example", "cells": [{"dataset": "digits", "architecture": "mlp"}]}
"""What an example that is only a part of a spec is a part of."""


def shown(path):
    return str(path.relative_to(ROOT))


def blocks(language, paths=DOCUMENTS):
    """Every fenced block of a language: (document, line, text)."""
    for path in paths:
        text = path.read_text()
        for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            yield path, text.count("\n", 0, found.start()) + 1, found[1]


def examples(language):
    return [pytest.param(path, text, id=f"{shown(path)}:{line}") for path, line, text in blocks(language)]


def prose(path):
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(path):
    """What the headings of a document can be linked by."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=shown)
def test_what_is_generated_is_up_to_date(path):
    text = path.read_text()
    assert documents.rendered(text) == text, "run: make docs"


def test_a_marker_of_nothing_known_is_refused():
    with pytest.raises(KeyError):
        documents.rendered("<!-- generated: nonsense -->\n<!-- end -->")


def test_the_readme_can_be_read():
    assert len((ROOT / "README.md").read_text().split()) <= MOST_WORDS


def test_every_command_is_documented():
    headings = re.findall(r"^## (\S+)$", (ROOT / "grid/COMMANDS.md").read_text(), re.MULTILINE)
    assert headings == list(main.commands)


@pytest.mark.parametrize("folder", list(documents.KINDS.values()))
def test_every_kind_of_component_has_its_table(folder):
    assert f"<!-- generated: list {folder} -->" in (ROOT / "tasks/README.md").read_text()


def test_every_attack_that_is_listed_is_documented_ready_cascades_too():
    text = (ROOT / "tasks/README.md").read_text()
    assert all(f"`{name}`" in text for name in components("attack")["name"].to_pylist())


@pytest.mark.parametrize("path", DOCUMENTS, ids=shown)
def test_every_link_leads_somewhere(path):
    links = re.findall(r"\]\((?!https?:)([^)\s]*)\)", prose(path))
    for target, _, anchor in (link.partition("#") for link in links):
        other = (path.parent / target).resolve() if target else path
        assert other.exists(), target
        if anchor:
            assert anchor in anchors(other), f"{target}#{anchor}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=shown)
def test_every_file_that_is_named_is_there(path):
    named = re.findall(r"`([\w./]+\.(?:py|sql|yaml|csv|toml|md))`", prose(path))
    missing = [name for name in named if not any((place / name).exists() for place in (path.parent, ROOT))]
    assert missing == []


@pytest.mark.parametrize("package", ["grid", "tasks"])
def test_every_file_of_a_package_is_named_in_its_readme(package):
    """By its line in the tree, or by the link of a component or of a question."""
    text = (ROOT / package / "README.md").read_text()
    tree = re.search(rf"<!-- generated: tree {package} -->(.*?)<!-- end -->", text, re.DOTALL)[1]
    in_tree = set(re.findall(r"^ *(\w+\.(?:py|sql)) ", tree, re.MULTILINE))
    linked = set(re.findall(r"\]\(([\w/]+\.(?:py|sql))\)", text))
    folder = ROOT / package
    files = [path for kind in ("*.py", "*.sql") for path in folder.rglob(kind) if path.name != "__init__.py"]
    assert [path for path in files if path.name not in in_tree and str(path.relative_to(folder)) not in linked] == []


@pytest.mark.parametrize(
    "word",
    sorted({*KEYS, *BLOCK_KEYS, *HARNESS_KEYS, *PROBE_KEYS, SOURCE, *AXES, *METRICS, *TABLES, "each", "combined"}),
)
def test_every_word_of_the_language_is_told_in_its_documentation(word):
    assert re.search(rf"`[^`\n]*\b{word}\b[^`\n]*`", prose(ROOT / "specs/README.md"))


@pytest.mark.parametrize(("path", "text"), examples("yaml"))
def test_every_spec_that_is_shown_passes_check(tmp_path, path, text):
    shipped = {path.name: path.read_text() for path in (ROOT / "specs").iterdir() if path.suffix in {".yaml", ".csv"}}
    for name, content in (shipped | {"values.csv": next(blocks("csv"))[2]}).items():
        (tmp_path / name).write_text(content)
    own = yaml.safe_load(text)
    given = own if "extends" in own else BASE | own
    spec = tmp_path / "example.yaml"
    # The text itself, for its anchors and its numbers; before it what it leaves out.
    left_out = {key: value for key, value in given.items() if key not in own}
    spec.write_text((yaml.safe_dump(left_out) if left_out else "") + text)
    for profile in (None, *own.get("profiles", {})):
        result = call("check", spec, *(["--profile", profile] if profile else []))
        assert result.exit_code == 0, result.stderr


def test_the_published_values_that_are_shown_select_what_they_say(tmp_path):
    path = tmp_path / "example.yaml"
    text = next(text for _, _, text in blocks("yaml") if "values.csv" in text)
    (tmp_path / "values.csv").write_text(next(blocks("csv"))[2].replace("softrmax", "cons"))
    path.write_text(yaml.safe_dump({"name": "example"}) + text)
    result = call("check", path)
    assert result.exit_code == 2
    assert "published.1" in result.stderr


def commands_shown():
    for path, line, text in blocks("bash"):
        for row in text.replace("\\\n", " ").splitlines():
            words = shlex.split(row, comments=True)
            if words and words[0] == "attackgrid":
                yield pytest.param(words[1:], id=f"{shown(path)}:{line} {' '.join(words[1:3])}")


@pytest.mark.parametrize("words", list(commands_shown()))
def test_every_command_that_is_shown_is_understood(words):
    """Parsed as it would be, and not run."""
    context = main.make_context("attackgrid", ["--help"], resilient_parsing=True)
    name, command, rest = main.resolve_command(context, words)
    command.make_context(name, list(rest), parent=context)


def test_the_commands_of_the_shell_that_are_named_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    for target in re.findall(r"`make ([a-z ]+)`|^make ([a-z]+)", text, re.MULTILINE):
        assert all(f"\n{name}:" in makefile for name in "".join(target).split())


@pytest.fixture(scope="module")
def tiny_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documents")
    spec = write_spec(
        folder,
        samples={"count": 20},
        attacks=[{"fgsm": {"eps": {"each": [0.05, 0.3]}}}, "deepfool"],
        probes=[{"activation_regimes": {"samples": 10}}],
    )
    result = launch(spec, folder / "store")
    assert result.exit_code == 0, result.stderr
    return Store(str(folder / "store"))


@pytest.mark.parametrize(("path", "text"), examples("sql"))
def test_every_question_that_is_shown_is_answered(tiny_store, path, text):
    with connect(tiny_store, lambda *damage: pytest.fail(str(damage))) as connection:
        for question in filter(str.strip, text.split(";\n")):
            assert run_sql(connection, question).num_columns > 0


def declared(text):
    """Kind and name of the component that a Python example declares."""
    return re.search(r'@component\(\s*"(\w+)"', text)[1], re.search(r"^def (\w+)\(", text, re.MULTILINE)[1]


def test_the_components_that_are_shown_work_together_as_printed(tmp_path, monkeypatch):
    kinds = {}
    for _, _, text in blocks("python", [ROOT / "tasks/README.md"]):
        kind, name = declared(text)
        (tmp_path / f"{name}.py").write_text(text)
        kinds[kind] = f"{name}:{name}"
    assert set(kinds) == set(registry.FOLDERS) - {"training"}
    monkeypatch.syspath_prepend(tmp_path)
    cell = {kind: name for kind, name in kinds.items() if kind not in {"attack", "probe"}}
    spec = write_spec(
        tmp_path,
        samples={"count": 20},
        cells=[{**cell, "training": {"epochs": 3, "batch_size": 32, "lr": 0.01}}],
        attacks=[{kinds["attack"]: {"eps": 0.4}}, {kinds["attack"]: {"eps": 0.4, "targets": "all"}}],
        probes=[kinds["probe"]],
    )
    try:
        result = launch(spec, tmp_path / "store")
    finally:
        for name in kinds.values():
            sys.modules.pop(name.partition(":")[0], None)
    assert result.exit_code == 0, result.stderr
    with connect(Store(str(tmp_path / "store")), lambda *damage: pytest.fail(str(damage))) as connection:
        [clean] = run_sql(connection, "select avg(clean_correct::int) as share from samples").to_pylist()
        [ahead] = run_sql(connection, "select count(value) as n from measures where measure = 'lead'").to_pylist()
    assert clean["share"] > 0.9
    assert ahead["n"] == 20


def test_the_architecture_that_is_shown_refuses_what_it_says_and_knows_its_widths(tmp_path, monkeypatch):
    [text] = [text for _, _, text in blocks("python", [ROOT / "tasks/README.md"]) if "def widths" in text]
    _, name = declared(text)
    (tmp_path / f"{name}_shown.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    beside = {"dataset": Component("dataset", "digits", 1)}
    narrow, wide = (Component("architecture", f"{name}_shown:{name}", 1, {"times": times}) for times in (2, 2_000))
    assert reasons(narrow, beside, foreign=True) == []
    [reason] = reasons(wide, beside, foreign=True)
    assert "are 128000 units" in reason
    assert widths(narrow, (1, 8, 8), foreign=True) == [128]
    with pytest.raises(TaskError, match=re.escape(reason)):
        registry.load("architecture", wide.name)((1, 8, 8), nn.ReLU, times=2_000)


def test_every_name_that_a_refusal_may_take_is_documented():
    text = prose(ROOT / "tasks/README.md")
    assert all(f"`{name}`" in text for name in (*PART_OF, *OF_ATTACK))


@pytest.mark.parametrize(("path", "text"), examples("python"))
def test_a_component_that_is_shown_keeps_every_promise_as_printed(tmp_path, monkeypatch, path, text):
    kind, name = declared(text)
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    registry._described.cache_clear()  # a test before it may have had another file of this name
    try:
        result = call("test", f"{name}:{name}", "--json")
    finally:
        sys.modules.pop(name, None)
    found = yaml.safe_load(result.stdout)
    assert (found["kind"], found["broken"]) == (kind, 0), result.stderr
    assert result.exit_code == 0


def test_every_python_example_is_a_component_that_is_run():
    assert {shown(path) for path, _, _ in blocks("python")} == {"tasks/README.md"}
