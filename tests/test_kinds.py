"""What a spec may write for a component of any kind: lists of components as a parameter, parameters without a name."""

import json

import pytest
from expansions import asked_cells, cases
from test_spec import problems_of, spec_of

from grid.plan.labels import cell_columns
from tasks.config import Component
from tasks.model import make

STACKED = "spec_components:stacked"
PATIENT = "spec_components:patient"
SMOOTHED = Component("defense", "label_smoothing", 1, {"smoothing": 0.1})
ORTHOGONAL = Component("defense", "orthogonality", 1, {"beta": 0.1})


def cells_with(folder, part, written):
    return asked_cells(spec_of(folder, "", overrides=[f"cells.0.{part}={written}"]))


def parts_of(folder, part, written):
    return [getattr(cell, part) for cell in cells_with(folder, part, written)]


def problem_with(folder, part, written):
    (problem,) = problems_of(folder, "", overrides=[f"cells.0.{part}={written}"])
    return problem


# Components as a parameter


@pytest.mark.parametrize(
    "parameters", ["[label_smoothing, orthogonality]", "{layers: [label_smoothing, orthogonality]}"]
)
def test_a_list_stands_for_the_one_parameter_that_is_components(tmp_path, parameters):
    (defense,) = parts_of(tmp_path, "defense", f"{{'{STACKED}': {parameters}}}")
    assert [(part.kind, part.name) for part in defense.parts] == [
        ("defense", "label_smoothing"),
        ("defense", "orthogonality"),
    ]
    assert defense.parameters["weight"] == 1.0


def test_the_parts_of_a_component_are_spelt_out_in_its_id():
    combined = Component("defense", "combined", 1, {"parts": (SMOOTHED, ORTHOGONAL)})
    assert json.loads(combined.part_of_id) == {
        "name": "combined",
        "version": 1,
        "parameters": {
            "parts": [
                {"name": "label_smoothing", "version": 1, "parameters": {"smoothing": 0.1}},
                {"name": "orthogonality", "version": 1, "parameters": {"beta": 0.1}},
            ]
        },
    }
    assert combined != Component("defense", "combined", 1, {"parts": (ORTHOGONAL, SMOOTHED)})


def test_a_component_is_given_what_its_parts_make():
    both = make(Component("defense", "combined", 1, {"parts": (SMOOTHED, ORTHOGONAL)}))
    assert both.loss is not None
    assert both.penalty is not None


def test_a_list_of_components_varies_with_its_members_and_as_a_whole(tmp_path):
    members = "[{label_smoothing: {smoothing: {each: [0.1, 0.2]}}}, [orthogonality, natural]]"
    found = parts_of(tmp_path, "defense", f"{{'{STACKED}': {members}}}")
    assert [[part.name for part in defense.parts] for defense in found] == [
        ["label_smoothing", name] for _ in range(2) for name in ("orthogonality", "natural")
    ]
    whole = "{each: [[natural, orthogonality], [natural, label_smoothing], [natural, orthogonality]]}"
    assert len(parts_of(tmp_path, "defense", f"{{'{STACKED}': {whole}}}")) == 2
    assert len(parts_of(tmp_path, "defense", f"{{'{STACKED}': {{layers: {whole}, weight: {{each: [1, 2]}}}}}}")) == 4


def test_a_component_in_words_has_its_parts_and_what_else_is_no_default(tmp_path):
    written = f"{{'{STACKED}': {{layers: [natural, {{label_smoothing: {{smoothing: 0.5}}}}], weight: 2}}}}"
    (cell,) = cells_with(tmp_path, "defense", written)
    assert cell_columns(cell)["defense_label"] == f"{STACKED}(natural, label_smoothing(smoothing=0.5), weight=2.0)"


def test_a_model_draws_if_a_part_of_a_component_does(tmp_path):
    attack = "attacks: {'spec_components:aim': {eps: 1}}"
    for part, draws in (("spec_components:wavers", 10), ("label_smoothing", 1)):
        spec = spec_of(tmp_path, attack, overrides=[f"cells.0.defense={{'{STACKED}': [natural, '{part}']}}"])
        assert [wanted.case.attack.draws for wanted in cases(spec)] == [draws]


def test_a_rule_selects_by_the_names_and_by_the_parameters_of_parts(tmp_path):
    written = f"[natural, {{'{STACKED}': [natural, {{label_smoothing: {{smoothing: {{each: [0.1, 0.2]}}}}}}]}}]"
    for rule, left in (
        ("{defense.layers: [[natural, label_smoothing]]}", 1),
        ("{defense.smoothing: 0.2}", 2),
        ("{defense.weight: 1}", 1),
    ):
        spec = spec_of(tmp_path, f"exclude: [{rule}]", overrides=[f"cells.0.defense={written}", "cells.0.seeds=[0]"])
        assert len(asked_cells(spec)) == left


@pytest.mark.parametrize(
    ("written", "key", "says"),
    [
        (f"'{STACKED}'", "defense.layers", "needs it"),
        (f"{{'{STACKED}': natural}}", STACKED, "a list of at least two components of the kind 'defense'"),
        (f"{{'{STACKED}': [natural]}}", STACKED, "a list of at least two components of the kind 'defense'"),
        (f"{{'{STACKED}': {{layers: 3}}}}", f"{STACKED}.layers", "a list of at least two components"),
        (f"{{'{STACKED}': [natural, nautral]}}", f"{STACKED}.1", "Did you mean 'natural'?"),
        (f"{{'{STACKED}': {{layers: [natural, natural], wait: 1}}}}", f"{STACKED}.wait", "Did you mean 'weight'?"),
        (f"{{'{STACKED}': [natural, {{combined: [natural, natural]}}]}}", f"{STACKED}.1", "cannot be part of another"),
        ("'spec_components:stacked_by_default'", "defense", "is components: only a part of a cell can have it"),
    ],
)
def test_a_list_of_components_that_cannot_be_is_refused_where_it_stands(tmp_path, written, key, says):
    problem = problem_with(tmp_path, "defense", written)
    assert problem.key.endswith(key)
    assert says in problem.message


def test_an_attack_takes_no_components(tmp_path):
    (problem,) = problems_of(tmp_path, "attacks: ['spec_components:defended']")
    assert "only a part of a cell can have it" in problem.message


def test_more_variants_of_a_list_than_can_be_planned_are_refused_with_their_most(tmp_path):
    smoothed = f"{{label_smoothing: {{smoothing: {{each: {[n / 1000 for n in range(400)]}}}}}}}"
    problem = problem_with(tmp_path, "defense", f"{{'{STACKED}': [{smoothed}, {smoothed}]}}")
    assert problem.message.endswith("together more than 30000")


# A usual component without its name


def test_parameters_alone_are_those_of_the_usual_training(tmp_path):
    forms = ["{epochs: 4}", "{standard: {epochs: 4}}", "[{epochs: 4}, {standard: {epochs: {each: [4]}}}]"]
    assert len({cell.id for written in forms for cell in cells_with(tmp_path, "training", written)}) == 1
    usual = ["{}", "standard", "{standard: null}", "{epochs: 10}", "null"]
    assert len({cell.id for written in usual for cell in cells_with(tmp_path, "training", written)}) == 1


def test_another_training_is_named_as_any_component(tmp_path):
    written = f"[{{epochs: {{each: [1, 2]}}}}, '{PATIENT}', {{'{PATIENT}': {{rounds: 4}}}}]"
    cells = cells_with(tmp_path, "training", written)
    assert [(cell.training.name, *cell.training.parameters.values())[:2] for cell in cells] == [
        *(("standard", 1), ("standard", 2)),
        *((PATIENT, 3), (PATIENT, 4)),
    ]
    labels = [cell_columns(cell)["cell_label"].split(" / ")[5:-1] for cell in cells]
    assert labels == [["epochs=1"], ["epochs=2"], [PATIENT], [f"{PATIENT}(rounds=4)"]]


def test_a_rule_and_a_source_name_a_training_as_any_component(tmp_path):
    attack = f"{{'spec_components:aim': {{eps: 1, source: {{training: [{{epochs: 3}}, '{PATIENT}']}}}}}}"
    rest = f"attacks: [{attack}]\nexclude: [{{training: '{PATIENT}', source.training: '{PATIENT}'}}]"
    spec = spec_of(tmp_path, rest, overrides=[f"cells.0.training=[standard, '{PATIENT}']"])
    assert [(w.case.cell.training.name, w.case.source.training.name) for w in cases(spec)] == [
        *(("standard", "standard"), ("standard", PATIENT)),
        (PATIENT, "standard"),
    ]


@pytest.mark.parametrize(
    ("written", "key", "says"),
    [
        ("{epohcs: 4}", "training.epohcs", "Did you mean 'epochs'?"),
        ("{epochs: 4, standard: {lr: 1}}", "training.standard", "unknown parameter 'standard' of training 'standard'"),
        ("{standrad: {epochs: 4}}", "training", "unknown training 'standrad'. Did you mean 'standard'?"),
        ("{standard: {epohcs: 4}}", "training.standard.epohcs", "Did you mean 'epochs'?"),
        ("{epochs: {each: 4}}", "training.epochs", "each: takes a list of values"),
        ("4", "training", "must be the name of one training"),
        ("[]", "training", "is an empty list"),
    ],
)
def test_a_training_that_cannot_be_is_refused_where_it_stands(tmp_path, written, key, says):
    problem = problem_with(tmp_path, "training", written)
    assert problem.key == f"cells.0.{key}"
    assert says in problem.message


@pytest.mark.parametrize(
    ("written", "path", "epochs"),
    [
        ("null", "epochs=7", [7]),
        ("{lr: 0.5}", "epochs=7", [7]),
        ("{lr: 0.5}", "standard.epochs=7", [7]),
        ("{standard: {lr: 0.5}}", "standard.epochs=7", [7]),
        ("[standard, {epochs: 2}]", "0.standard.epochs=7", [7, 2]),
        ("[{epochs: 1}, {epochs: 2}]", "*.epochs=7", [7]),
    ],
)
def test_a_path_leads_to_a_training_with_or_without_its_name(tmp_path, written, path, epochs):
    spec = spec_of(tmp_path, "", overrides=[f"cells.0.training={written}", f"cells.*.training.{path}"])
    assert [cell.training.parameters["epochs"] for cell in asked_cells(spec)] == epochs


def test_a_training_put_in_place_of_another_merges_only_with_its_own_kind_of_spelling(tmp_path):
    def after(*overrides):
        spec = spec_of(tmp_path, "", overrides=[f"cells.0.training={written}" for written in overrides])
        (cell,) = asked_cells(spec)
        return cell.training.name, cell.training.parameters.get("epochs"), cell.training.parameters.get("lr")

    assert after("{epochs: 4}", "{lr: 0.5}") == ("standard", 4, 0.5)
    assert after("{epochs: 4}", "{standard: {lr: 0.5}}") == ("standard", 10, 0.5)
    assert after("{epochs: 4}", f"'{PATIENT}'") == (PATIENT, None, None)
    assert after(f"{{'{PATIENT}': {{rounds: 4}}}}", "{lr: 0.5}") == ("standard", 10, 0.5)
