"""What a spec may say of an attack beside its parameters: aims, draws, sources, cascades. Toys: spec_components.py."""

import pytest
from expansions import axes, cases, cells
from test_spec import attack_of, problems_of, spec_of

from grid.spec.read import parse_document
from tasks.cases import Budget

AIM = "spec_components:aim"


def cases_of(folder, rest):
    return [wanted.case for wanted in cases(spec_of(folder, rest))]


@pytest.mark.parametrize(
    ("written", "targets", "label"),
    [
        ("all", "all", "targets=all"),
        ("3", (3,), "targets=[3]"),
        ("[0, 2, 0]", (0, 2), "targets=[0, 2]"),
    ],
)
def test_an_attack_is_aimed_at_all_other_classes_or_at_those_named(tmp_path, written, targets, label):
    (case,) = cases_of(tmp_path, f"attacks: {{'{AIM}': {{eps: 1, targets: {written}}}}}")
    assert case.attack.targets == targets
    assert axes(case)["attack_label"] == f"{AIM}(eps=1, {label})"


def test_an_attack_that_needs_targets_aims_at_all_of_them(tmp_path):
    (case,) = cases_of(tmp_path, "attacks: {'spec_components:only_aim': {eps: 1}}")
    assert case.attack.targets == "all"


@pytest.mark.parametrize(
    ("attack", "key", "message"),
    [
        ("{'spec_components:nudge': {eps: 1, targets: all}}", ".targets", "cannot aim at a class"),
        (f"{{'{AIM}': {{eps: 1, targets: []}}}}", ".targets", "is an empty list"),
        (f"{{'{AIM}': {{eps: 1, targets: [-1]}}}}", ".targets", "at least 0"),
        (f"{{'{AIM}': {{eps: 1, eot: 0}}}}", ".eot", "at least 1"),
        (f"{{'{AIM}': {{eps: 1, attacked: some}}}}", ".attacked", "one of 'correct', 'all'"),
        (f"{{'{AIM}': {{eps: 1, source: {{}}}}}}", ".source", "says nothing"),
        (f"{{'{AIM}': {{eps: 1, source: {{hed: softmax}}}}}}", ".source.hed", "Did you mean 'head'"),
        (f"{{'{AIM}': {{eps: 1, source: {{head: sofmax}}}}}}", ".source.head", "Did you mean 'softmax'"),
        (f"{{'{AIM}': {{eps: 1, source: {{seed: x}}}}}}", ".source.seed", "must be a whole number"),
        ("{cascade: true}", "", "with at least one attack"),
        ("{cascade: true, attacks: []}", "", "with at least one attack"),
        ("{cascade: yes please, attacks: [deepfool]}", "", "must be {cascade: true"),
        (f"{{cascade: true, attacks: ['{AIM}']}}", ".eps", "needs an eps"),
        (f"{{cascade: true, eps: 1, attacks: ['{AIM}'], also: 1}}", ".also", "unknown key 'also' of a cascade"),
        (f"{{cascade: true, eps: 1, attacks: [{{'{AIM}': {{samples: 4}}}}]}}", ".samples", "said of the whole cascade"),
        (f"{{cascade: true, eps: 1, attacks: [{{'{AIM}': {{steps: {{each: [1, 2]}}}}}}]}}", ".0", "cannot vary"),
        ("{cascade: true, eps: 1, attacks: ['spec_components:ready']}", ".0", "has a prepare step"),
        ("{autoattack: {eps: 1, attacks: [deepfool]}}", ".attacks", "cannot be said of a ready ensemble"),
        ("{autoattack: {eps: 1, version: rant}}", ".version", "Did you mean 'rand'"),
        ("{'spec_components:anything': {}}", ".attack", "needs it"),
        ("{'spec_components:anything': {attack: A, x: {y: 1}}}", ".x", "must be"),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(tmp_path, attack, key, message):
    (problem, *_) = problems_of(tmp_path, f"attacks: [{attack}]")
    assert (problem.line, problem.key.endswith(key)) == (3, True)
    assert message in problem.message


def test_draws_count_only_where_the_model_draws(tmp_path):
    attack = f"attacks: {{'{AIM}': {{eps: 1, eot: 7, draws: 5}}}}"
    (still,) = cases_of(tmp_path, attack)
    assert (still.attack.eot, still.attack.draws) == (1, 1)
    spec = f"{attack}\nexclude: []"
    wavering = spec_of(tmp_path, spec, overrides=["cells.0.defense=spec_components:wavers"])
    (case,) = [wanted.case for wanted in cases(wavering)]
    assert (case.attack.eot, case.attack.draws) == (7, 5)
    assert "eot=7, draws=5" in axes(case)["attack_label"]


def test_a_stochastic_model_is_averaged_and_voted_on_without_being_asked(tmp_path):
    spec = spec_of(
        tmp_path,
        f"attacks: [{{'{AIM}': {{eps: 1}}}}, {{'spec_components:nudge': {{eps: 1}}}}]",
        overrides=["cells.0.defense=spec_components:wavers"],
    )
    white, blind = (wanted.case.attack for wanted in cases(spec))
    assert (white.eot, white.draws) == (10, 10)
    assert (blind.eot, blind.draws) == (1, 10)


def test_a_source_is_the_cell_with_other_parts_and_is_trained(tmp_path):
    spec = spec_of(tmp_path, f"attacks: {{'{AIM}': {{eps: 1, source: {{head: [cons, softmax], seed: [0, 4]}}}}}}")
    found = [wanted.case for wanted in cases(spec)]
    assert [(case.source and (case.source.head.name, case.source.seed)) for case in found] == [
        *(("cons", 0), ("cons", 4)),
        *(None, ("softmax", 4)),
    ]
    assert len({case.id for case in found}) == 4
    assert [axes(case)["source"] for case in found] == ["cons", "cons / seed 4", None, "seed 4"]
    assert [(cell.head.name, cell.seed) for cell in cells(spec)] == [
        ("softmax", 0),
        ("cons", 0),
        ("cons", 4),
        ("softmax", 4),
    ]


def test_a_source_can_be_excluded_by_its_parts(tmp_path):
    attack = f"attacks: {{'{AIM}': {{eps: 1, source: {{head: [cons, softmax]}}}}}}"
    (case,) = cases_of(tmp_path, f"{attack}\nexclude: [{{source.head: softmax}}]")
    assert case.source.head.name == "cons"


def test_a_cascade_is_one_attack_of_several_members(tmp_path):
    text = f"attacks: [{{cascade: true, eps: 8/255, attacks: [{{'{AIM}': {{steps: 3}}}}, deepfool], samples: 9}}]"
    spec = spec_of(tmp_path, text)
    attack = attack_of(spec)
    assert [member.component.name for member in attack.chain] == [AIM, "deepfool"]
    assert [member.budget.beyond for member in attack.chain] == ["error", "failure"]
    assert [member.budget.eps for member in attack.chain] == [8 / 255, 8 / 255]
    assert [member.budget.norm for member in attack.chain] == ["linf", "l2"]
    (case,) = [wanted.case for wanted in cases(spec)]
    assert axes(case)["attack"] == "cascade"
    assert axes(case)["attack_label"] == f"cascade(eps=8/255, {AIM}(steps=3) then deepfool)"
    assert spec.blocks[0].asked[0].samples == 9
    again = parse_document(spec.document, "again")
    assert attack_of(again).id == attack.id


def test_what_is_said_beside_the_members_of_a_cascade_may_vary(tmp_path):
    text = f"attacks: [{{cascade: true, eps: {{each: [1/255, 8/255]}}, norm: linf, attacks: ['{AIM}', '{AIM}']}}]"
    assert [case.attack.budget.eps for case in cases_of(tmp_path, text)] == [1 / 255, 8 / 255]


def test_the_members_of_a_cascade_are_in_its_id_and_its_name_is_not(tmp_path):
    one, two, named = (
        attack_of(spec_of(tmp_path, f"attacks: [{{cascade: true, eps: 1, {rest}}}]")).id
        for rest in (
            f"attacks: ['{AIM}', deepfool]",
            f"attacks: [deepfool, '{AIM}']",
            f"name: mine, attacks: ['{AIM}', deepfool]",
        )
    )
    assert one == named != two


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_autoattack_is_the_standard_ensemble_under_one_budget(tmp_path, norm):
    (case,) = cases_of(tmp_path, f"attacks: [{{autoattack: {{eps: 8/255, norm: {norm}}}}}]")
    members = [(member.component.name, member.component.parameters.get("loss")) for member in case.attack.chain]
    assert members == [("apgd", "ce"), ("apgd", "targeted_dlr"), ("fab", None), ("square", "margin")]
    budgets = {(member.budget.norm, member.budget.eps) for member in case.attack.chain}
    assert budgets == {(norm, 8 / 255)}
    assert case.attack.chain[-1].component.parameters["queries"] == 5000
    assert axes(case)["attack"] == "autoattack"


def test_autoattack_for_models_that_draw_is_two_climbs_that_average_twenty_draws(tmp_path):
    text = "attacks: [{autoattack: {eps: 8/255, version: %s}}]"
    drawing = ["cells.0.defense=spec_components:wavers"]
    rand = spec_of(tmp_path, text % "rand", overrides=drawing)
    (case,) = (wanted.case for wanted in cases(rand))
    members = [(member.component.name, member.component.parameters["loss"]) for member in case.attack.chain]
    assert members == [("apgd", "ce"), ("apgd", "dlr")]
    assert {(member.eot, member.draws) for member in case.attack.chain} == {(20, 10)}
    assert not rand.warnings
    standard = spec_of(tmp_path, text % "standard", overrides=drawing)
    assert ["version: rand" in str(warning) for warning in standard.warnings] == [True]


def test_when_to_stop_is_in_the_ids_of_transfers_and_of_cells_that_draw_and_in_no_other(tmp_path):
    text = f"attacks: [{{pgd: {{eps: 1, draws: 1, eot: 1{{}}}}}}, {{'{AIM}': {{eps: 1, draws: 1, eot: 1{{}}}}}}]"

    def stopping(more: str, *overrides: str) -> list[str]:
        found = cases(spec_of(tmp_path, text.replace("{}", more), overrides=list(overrides)))
        return [wanted.case.attack.resolved().get("stopping", "at once") for wanted in found]

    assert stopping("") == ["at once", "at once"]
    assert stopping(", source: {seed: 4}") == ["never", "at once"]
    assert stopping("", "cells.0.defense=spec_components:wavers") == ["confirmed", "at once"]


def test_an_open_attack_passes_on_what_it_does_not_declare(tmp_path):
    text = "attacks: [{'spec_components:anything': {attack: Some, stepsize: 1/4, sizes: [1, 2], norm: l2}}]"
    (case,) = cases_of(tmp_path, text)
    assert case.attack.component.parameters == {"attack": "Some", "sizes": [1, 2], "stepsize": 0.25}
    assert case.attack.budget == Budget("l2", None)
    assert "stepsize=0.25" in axes(case)["attack_label"]
