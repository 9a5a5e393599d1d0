"""Exclusions and published values, from the spec and from CSV files."""

import textwrap
from pathlib import Path

import pytest
from expansions import cases, cells, published_cases

from grid.errors import SpecError
from grid.spec.read import GridSpec, load_spec

GRID = """\
name: a
samples: {count: 40}
seeds: [0, 1]
cells:
  - dataset: spec_components:fifty
    architecture: {'spec_components:net': {hidden: {each: [[8], [4, 4]]}}}
    head: [softmax, 'spec_components:flat']
    variant: published
attacks:
  - {'spec_components:nudge': {eps: {each: [8/255, 0.1]}, norm: {each: [linf, l2]}}}
  - {'spec_components:walk': {start: {each: [null, 1/4]}}}
"""
EVERY = 2 * 2 * 2 * 6
HEADER = "attack,eps,architecture.hidden,metric,value,source,note\n"


def load(folder: Path, rest: str = "", csv: str | None = None) -> GridSpec:
    path = folder / "a.yaml"
    path.write_text(GRID + textwrap.dedent(rest))
    if csv is not None:
        (folder / "values.csv").write_text(csv)
    return load_spec(path)


def count(folder: Path, *rules: str) -> int:
    return len(list(cases(load(folder, "exclude:\n" + "".join(f"  - {rule}\n" for rule in rules)))))


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ("{attack: spec_components:walk}", EVERY - 16),
        ("{attack: spec_components:nudge, eps: 8/255}", EVERY - 16),
        ("{eps: 0.10}", EVERY - 16),
        ("{eps: null}", EVERY - 16),
        ("{eps: [8/255, null], seed: 1}", EVERY - 16),
        ("{norm: linf, head: [softmax, spec_components:flat]}", EVERY - 16),
        ("{space: pixel, box: true, seed: 0}", EVERY - 24),
        ("{architecture.hidden: [4, 4]}", EVERY - 24),
        ("{architecture.hidden: [[8], [4, 4]], seed: 0}", EVERY - 24),
        ("{attack.start: 1/4}", EVERY - 8),
        ("{attack.start: null, seed: 0}", EVERY - 4),
        ("{attack.steps: 10}", EVERY - 32),
        ("{variant: published, seed: 0}", EVERY - 24),
    ],
)
def test_an_exclusion_leaves_out_what_it_selects(tmp_path, rule, left):
    assert count(tmp_path, rule) == left


def test_exclusions_add_up(tmp_path):
    assert count(tmp_path, "{seed: 0}", "{attack: spec_components:walk, seed: 1}") == EVERY - 24 - 8


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("{box: 1}", "must be true or false, not 1"),
        ("{seed: true}", "must be a whole number, not true"),
        ("{eps: big}", "must be a number or null, not 'big'"),
        ("{norm: l3}", "must be one of 'l0', 'l1', 'l2', 'linf', not 'l3'"),
        ("{hed: softmax}", "unknown axis 'hed'. Did you mean 'head'?"),
        ("{haed.scale: 1}", "unknown axis 'haed.scale'"),
        ("{attack.steps: true}", "matches no case; none has attack.steps True"),
        ("{}", "names no axis"),
        ("softmax", "must be a map"),
    ],
)
def test_an_exclusion_in_error_is_refused(tmp_path, rule, says):
    with pytest.raises(SpecError) as caught:
        count(tmp_path, rule)
    (problem,) = caught.value.problems
    assert problem.line == 13
    assert says in problem.message


def test_a_cell_whose_cases_are_all_excluded_is_not_wanted(tmp_path):
    assert len(list(cells(load(tmp_path)))) == 8
    spec = load(tmp_path, "exclude: [{seed: 0, attack: [spec_components:walk, spec_components:nudge]}]")
    assert {cell.seed for cell in cells(spec)} == {1}


def test_published_values_are_read_from_a_csv_and_find_their_cases(tmp_path):
    rows = """\
        spec_components:nudge,8/255,"[4, 4]",robust_accuracy,0.25,Table 1,"first, note"
        ,null,,mean_l2,1.5,p. 3,

        spec_components:walk,,[8],success_rate,1,3,
    """
    spec = load(tmp_path, "published: values.csv\n", HEADER + textwrap.dedent(rows))
    found = [(published.source, wanted.case) for published, wanted in published_cases(spec)]
    assert [sum(source == name for source, _ in found) for name in ("Table 1", "p. 3", "3")] == [8, 16, 8]
    assert all(case.attack.eps_label == "8/255" for source, case in found if source == "Table 1")
    assert (spec.published[0].value, spec.published[0].note, spec.published[1].note) == (0.25, "first, note", "")


def test_every_problem_of_a_csv_names_the_file_and_its_line(tmp_path):
    rows = """\
        spec_components:nudge,,,robust_accuracy,97,Table 1,
        spec_components:nudge,,,robust_acuracy,0.1,Table 1,
        spec_components:nudge,x,,mean_l2,0.1,Table 1,
        spec_components:nudge,,,mean_l2,,Table 1,
        spec_components:nudge,,,mean_l2,-1,,
        too,few
        spec_components:nudge,,[8,mean_l2,1,Table 1,
    """
    with pytest.raises(SpecError) as caught:
        load(tmp_path, "published: values.csv\n", HEADER + textwrap.dedent(rows))
    problems = caught.value.problems
    assert [(problem.line, problem.key.rpartition(".")[2]) for problem in problems] == [
        (2, "value"),
        (3, "metric"),
        (4, "eps"),
        (5, "value"),
        (6, "source"),
        (6, "value"),
        (7, ""),
        (8, ""),
    ]
    assert all(f"in {tmp_path / 'values.csv'}: " in problem.message for problem in problems)


def test_a_published_value_without_a_case_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"line 2, published.0: in .*values.csv: matches no case; none has eps 0.3"):
        load(tmp_path, "published: values.csv\n", HEADER + ",0.3,,mean_l2,1,Table 1,\n")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("atack,metric,value,source,note\n", "unknown column 'atack'. Did you mean 'attack'?"),
        ("seed,seed,metric,value,source\n", "is there twice"),
    ],
)
def test_a_csv_with_a_wrong_header_is_refused(tmp_path, header, says):
    with pytest.raises(SpecError, match=says):
        load(tmp_path, "published: values.csv\n", header)


def test_published_must_be_a_list_or_a_file_that_is_there(tmp_path):
    with pytest.raises(SpecError, match=r"line 12, published: cannot read .*gone.csv"):
        load(tmp_path, "published: gone.csv\n")
    with pytest.raises(SpecError, match="line 12, published: must be the path of a CSV file, or a list of maps"):
        load(tmp_path, "published: {a: 1}\n")
