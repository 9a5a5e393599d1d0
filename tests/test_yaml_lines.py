"""Text that is no strict YAML 1.2 is refused with its line, as part of a spec."""

import itertools
from pathlib import Path

import pytest

from grid.errors import SpecError
from grid.spec import strict_yaml
from grid.spec.nodes import Report, plain
from grid.spec.read import load_spec
from grid.spec.strict_yaml import dump, parse

BLOCK = "{dataset: 'spec_components:fifty', architecture: 'spec_components:net'}"


def write(folder: Path, text: str) -> Path:
    path = folder / "a.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("name: a\nname: b\n", 2, "duplicate key 'name', first on line 1"),
        ("name: a\ncells:\n  - {dataset: x, dataset: y}\n", 3, "duplicate key 'dataset', first on line 3"),
        ("", 1, "is empty"),
        ("# only a comment\n", 1, "is empty"),
        ("- a\n", 1, "must be a map of name"),
        ("name: a\n---\nname: b\n", 2, "a second document starts here"),
        ("name: a\ncells:\n\t- x\n", 3, "a tab: YAML is indented with spaces"),
        ("name: a\ncells: [x\n", 3, "not YAML: "),
        ("name: !!python/name:os.system a\n", 1, "is not of YAML's core schema"),
        ("name: !!int a\n", 1, "'a' is not what its tag says"),
        ("name: a\nx: &x {b: 1}\ny:\n  <<: *x\n", 4, "merge keys (<<) are not YAML 1.2"),
        ("name: a\n? [1, 2]\n: 3\n", 2, "a key must be plain text"),
        ("name: a\nx: &x [*x]\n", 2, "or an alias within its own anchor"),
        ("name: a\nx: *nobody\n", 2, "not YAML: "),
        ("name: a\nx: " + "[" * 200 + "]" * 200, 2, "nested more than 30 deep"),
        ("name: a\nx: a\x00b\n", 2, "a character that YAML does not allow"),
    ],
)
def test_text_that_is_no_strict_yaml_is_refused_with_its_line(tmp_path, text, line, says):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert any(problem.line == line and says in problem.message for problem in caught.value.problems)


def test_a_file_that_is_not_utf8_or_not_there_is_refused(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"name: a\nx: \xff\n")
    with pytest.raises(SpecError, match=r"line 2.*is not UTF-8"):
        load_spec(path)
    with pytest.raises(SpecError, match=r"cannot read .*No such file"):
        load_spec(tmp_path / "b.yaml")


def test_an_alias_may_be_used_but_may_not_blow_up(tmp_path, monkeypatch):
    shared = "name: a\ncells:\n  - &b " + BLOCK + "\n  - *b\n"
    assert load_spec(write(tmp_path, shared)).blocks[0] == load_spec(write(tmp_path, shared)).blocks[1]
    levels = ["x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    levels += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 12)]
    visited, visit = itertools.count(1), strict_yaml._Reader.node

    def counted(reader, *place):
        """Of the hundred billion values that are meant no more are visited than may be repeated, and those written."""
        assert next(visited) <= strict_yaml.MAX_REPEATED + 100
        return visit(reader, *place)

    monkeypatch.setattr(strict_yaml._Reader, "node", counted)
    with pytest.raises(SpecError, match="aliases repeat more than 10000 values"):
        load_spec(write(tmp_path, "\n".join(levels)))
    assert next(visited) > strict_yaml.MAX_REPEATED


@pytest.mark.parametrize("word", ["no", "on", "0o17", "1_000", "1:30", "2024-01-01"])
def test_words_of_yaml_1_1_keep_their_1_2_meaning(tmp_path, word):
    block = BLOCK.replace("}", f", variant: {word}}}")
    path = write(tmp_path, f"name: a\ncells: [{block}]\n")
    if word == "0o17":
        with pytest.raises(SpecError, match="must be text, not 15"):
            load_spec(path)
    else:
        assert load_spec(path).blocks[0].variant == word


def test_a_torn_file_is_one_problem(tmp_path):
    with pytest.raises(SpecError) as caught:
        load_spec(write(tmp_path, "name: [a\n"))
    assert len(caught.value.problems) == 1


def test_what_is_dumped_reads_back_with_its_spelling():
    text = "a: 1e-3\nb: 8/255\nc: 'no'\nd: '3'\ne: ''\nf: null\ng: 0x1F\nh: [1.50, {i: true, j: 'true', k: ~}]\n"
    text += "l: 'é: #'\n"
    report = Report("a")
    first = parse(text, "a", report)
    second = parse(dump(first), "b", report)
    assert (first, report.problems) == (second, [])
    assert plain(first)["h"] == [1.5, {"i": True, "j": "true", "k": None}]
    assert all(spelling in dump(first) for spelling in ("1e-3", "8/255", "0x1F", "1.50"))
