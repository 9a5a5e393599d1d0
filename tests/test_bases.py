"""Which cell is trained before another, and what is shared between them."""

from pathlib import Path

import pytest
from expansions import asked_cells, cells, needed_cells

from grid.spec.read import load_spec
from tasks.needs import base_of, trained_as


def spec_of(tmp_path: Path, block: str):
    path = tmp_path / "a.yaml"
    path.write_text(f"name: a\ncells:\n  - {{dataset: digits, architecture: mlp, {block}}}\n")
    return load_spec(path)


def only(tmp_path: Path, block: str):
    (cell,) = asked_cells(spec_of(tmp_path, block))
    return cell


@pytest.mark.parametrize("block", ["head: softmax", "activation: {srelu: {cap: 0.1}}", "defense: {trades: {eps: 0.1}}"])
def test_most_cells_need_no_other(tmp_path, block):
    cell = only(tmp_path, block)
    assert base_of(cell) is None
    assert trained_as(cell) is cell


def test_a_cell_that_is_evaluated_otherwise_has_the_weights_of_the_cell_with_the_defaults(tmp_path):
    changed = only(tmp_path, "activation: {srelu: {cap: 0.1, evaluation_cap: 0.05}}")
    base = base_of(changed)
    assert base.role == "weights"
    assert base.cell == only(tmp_path, "activation: {srelu: {cap: 0.1}}")
    assert base.cell.id != changed.id


def test_a_part_of_a_combination_may_be_what_is_evaluated_otherwise(tmp_path):
    noisy = "defense: {combined: [label_smoothing, {parametric_noise: {evaluation: %s}}]}"
    base = base_of(only(tmp_path, noisy % "none"))
    assert base.role == "weights"
    assert base.cell == only(tmp_path, noisy % "noise")


def test_retraining_starts_from_the_same_cell_trained_naturally(tmp_path):
    base = base_of(only(tmp_path, "defense: {pgd_training: {eps: 0.1}}, training: {epochs: 10, natural_epochs: 20}"))
    assert base.role == "start"
    assert base.cell == only(tmp_path, "training: {epochs: 20}")


def test_a_student_has_a_teacher_of_the_same_temperature(tmp_path):
    base = base_of(only(tmp_path, "defense: {distillation: {temperature: 7}}"))
    assert base.role == "teacher"
    assert base.cell == only(tmp_path, "defense: {distillation: {temperature: 7, teacher: true}}")
    assert base_of(base.cell) is None


def test_bases_are_wanted_once_behind_the_cells_that_were_asked_for(tmp_path):
    spec = spec_of(tmp_path, "activation: {srelu: {evaluation_cap: {each: [0.5, 0.1]}}}, defense: distillation")
    asked, needed = list(asked_cells(spec)), list(needed_cells(spec))
    assert len(asked) == 2
    assert [cell.defense.parameters["teacher"] for cell in needed] == [False, True]
    assert list(cells(spec)) == asked + needed


def test_a_base_that_is_asked_for_anyway_is_not_wanted_twice(tmp_path):
    spec = spec_of(tmp_path, "activation: [srelu, {srelu: {evaluation_cap: 0.5}}]")
    assert len(list(cells(spec))) == 2
    assert list(needed_cells(spec)) == []


@pytest.mark.parametrize(
    ("defense", "says"),
    [
        ("{combined: [natural]}", "at least two components"),
        ("{combined: label_smoothing}", "at least two components"),
        ("{combined: [natural, {combined: [natural, orthogonality]}]}", "cannot be part of another"),
        ("{combined: [natural, {label_smoothing: {smothing: 0.1}}]}", "unknown parameter 'smothing'"),
        ("{combined: [natural, nautral]}", "Did you mean 'natural'"),
    ],
)
def test_a_combination_that_cannot_be_is_refused(tmp_path, defense, says):
    with pytest.raises(Exception, match=says):
        spec_of(tmp_path, f"defense: {defense}")


def test_a_combination_varies_with_each_of_its_parts(tmp_path):
    each = (
        "{combined: [{label_smoothing: {smoothing: {each: [0.1, 0.2]}}}, {orthogonality: {beta: {each: [1, 2, 3]}}}]}"
    )
    found = list(asked_cells(spec_of(tmp_path, f"defense: {each}")))
    assert len(found) == len({cell.id for cell in found}) == 6
