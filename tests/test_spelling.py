"""What is nearly right: the right spelling is shown, or what is written is taken; what is hardly meant is warned of."""

import json

import attackgrid
import pytest
from grids import call, launch, write_spec

from grid.errors import SpecError
from grid.spec.read import load_spec

BLOCK = {"dataset": "digits", "architecture": "mlp", "training": {"epochs": 1}}


def said(folder, **changes):
    """The problems that `check` finds in the toy spec with such changes."""
    done = call("check", write_spec(folder, **changes), "--json")
    assert done.exit_code == 2
    return " ".join(problem["message"] for problem in json.loads(done.stdout)["problems"])


def warned(folder, **changes):
    """The warnings of the toy spec with such changes, which is no worse for them: key and message."""
    done = call("check", write_spec(folder, **changes), "--json")
    assert done.exit_code == 0
    return {each["key"]: each["message"] for each in json.loads(done.stdout)["warnings"]}


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ({"fgsm": {"eps": ["2/255", "4/255"]}}, "write {each: [2/255, 4/255]}"),
        ({"pgd": {"eps": 0.1, "steps": [10, 50]}}, "write {each: [10, 50]}"),
        ({"pgd": {"eps": 0.1, "norm": ["linf", "l2"]}}, "write {each: [linf, l2]}"),
        ({"pgd": {"eps": 0.1, "random_start": [True, False]}}, "write {each: [true, false]}"),
        ({"cascade": True, "eps": [0.1, 0.2], "attacks": ["fgsm"]}, "write {each: [0.1, 0.2]}"),
    ],
)
def test_a_list_in_place_of_a_value_is_answered_with_the_each_to_write(tmp_path, attack, message):
    assert message in said(tmp_path, attacks=[attack])


def test_a_list_of_what_is_no_value_either_is_answered_without_an_each(tmp_path):
    assert "each:" not in said(tmp_path, attacks=[{"fgsm": {"eps": [0.1, "much"]}}])


@pytest.mark.parametrize("written", ["8./255.", "8 / 255", " 8/255 ", "8.0/255", "16/510"])
def test_a_fraction_may_be_written_with_points_and_spaces(tmp_path, written):
    (_, asked) = load_spec(write_spec(tmp_path, attacks=["deepfool", {"fgsm": {"eps": written}}])).blocks[0].asked
    assert asked.under.budget.eps == 8 / 255


@pytest.mark.parametrize("written", ["1/0", "8/255/2", "a/255", "8/", "/255", "./."])
def test_what_is_no_fraction_is_refused(tmp_path, written):
    assert "must be a number" in said(tmp_path, attacks=[{"fgsm": {"eps": written}}])


@pytest.mark.parametrize(
    ("block", "meant"),
    [
        ({"defense": "none"}, "natural"),
        ({"defense": "at"}, "pgd_training"),
        ({"defense": "Label-Smoothing"}, "label_smoothing"),
        ({"dataset": "cifar-10"}, "cifar10"),
        ({"dataset": "FashionMNIST"}, "fashion_mnist"),
        ({"training": {"learning_rate": 0.1}}, "lr"),
        ({"training": {"batchsize": 4}}, "batch_size"),
        ({"training": {"num_epochs": 4}}, "epochs"),
        ({"training": {"optimizer": "Adam"}}, "adam"),
        ({"attacks": ["carlini"]}, "cw"),
        ({"attacks": ["C&W"]}, "cw"),
        ({"attacks": [{"aa": {"eps": 0.1}}]}, "autoattack"),
        ({"attacks": [{"AutoAttack": {"eps": 0.1}}]}, "autoattack"),
        ({"attacks": [{"i-fgsm": {"eps": 0.1}}]}, "bim"),
        ({"attacks": [{"pgd": {"eps": 0.1, "iterations": 9}}]}, "steps"),
        ({"attacks": [{"square": {"eps": 0.1, "iterations": 9}}]}, "queries"),
        ({"attacks": [{"pgd": {"epsilon": 0.1}}]}, "eps"),
        ({"attacks": [{"pgd": {"eps": 0.1, "step_size": 0.1}}]}, "alpha"),
        ({"attacks": [{"cw": {"step_size": 0.1}}]}, "lr"),
        ({"attacks": [{"pgd": {"eps": 0.1, "num_restarts": 2}}]}, "restarts"),
        ({"attacks": [{"pgd": {"eps": 0.1, "norm": "Linf"}}]}, "linf"),
        ({"attacks": [{"pgd": {"eps": 0.1, "norm": 2}}]}, "l2"),
    ],
)
def test_what_the_field_calls_it_is_answered_with_what_it_is_called_here(tmp_path, block, meant):
    assert f"Did you mean {meant!r}?" in said(tmp_path, cells=[{**BLOCK, **block}])


def test_no_defense_at_all_is_answered_with_natural(tmp_path):
    assert "natural: write that" in said(tmp_path, cells=[{**BLOCK, "defense": None}])
    assert "natural: write that" in said(tmp_path, cells=[{**BLOCK, "defense": ["trades", None]}])


@pytest.mark.parametrize("written", ["robust_acuracy", "Robust-Accuracy", "robust"])
def test_a_table_is_found_by_a_near_name_in_a_spec_and_on_the_command_line(tmp_path, written):
    assert "Did you mean 'robust_accuracy'?" in said(tmp_path, tables=[written])
    launch(write_spec(tmp_path, cells=[BLOCK], samples={"count": 2}, attacks=[]), tmp_path / "store")
    done = call("table", tmp_path / "store", written)
    assert (done.exit_code, "Did you mean 'robust_accuracy'?" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["chekc", "x"], "check"), (["list", "atacks"], "attacks"), (["list", "attacks", "Carlini"], "cw")],
)
def test_commands_kinds_and_names_are_suggested(words, meant):
    done = call(*words)
    assert (done.exit_code, f"Did you mean {meant!r}?" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("written", "seeds"),
    [("0,1,2", (0, 1, 2)), ("0, 1", (0, 1)), ("[4]", (4,)), ("[0,1]", (0, 1)), ("0,1,", (0, 1))],
)
def test_set_takes_a_list_with_or_without_brackets(tmp_path, written, seeds):
    assert load_spec(write_spec(tmp_path), overrides=[f"seeds={written}"]).blocks[0].seeds == seeds


def test_set_takes_a_list_for_a_parameter_for_components_and_for_tables(tmp_path):
    changes = ["cells.0.architecture.mlp.hidden=64,32", "cells.0.head=softmax,cons", "tables=fooling,transfer"]
    spec = load_spec(write_spec(tmp_path), overrides=changes)
    (block,) = spec.blocks
    assert block.parts["architecture"][0].parameters["hidden"] == [64, 32]
    assert [head.name for head in block.parts["head"]] == ["softmax", "cons"]
    assert [table.name for table in spec.tables] == ["fooling", "transfer"]


def test_text_with_a_comma_stays_text_in_quotes(tmp_path):
    spec = load_spec(write_spec(tmp_path), overrides=['cells.*.variant="a, b"'])
    assert spec.blocks[0].variant == "a, b"


def test_a_single_seed_is_answered_with_the_list_to_write(tmp_path):
    assert "write [3]" in said(tmp_path, seeds=3)


HALF = "in units of 0 to 255 write 8/255"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"attacks": [{"fgsm": {"eps": 8}}]}, "attacks.0.fgsm.eps"),
        ({"attacks": [{"pgd": {"eps": {"each": [0.1, 8]}}}]}, "attacks.0.pgd.eps"),
        ({"attacks": [{"autoattack": {"eps": 8}}]}, "attacks.0.autoattack.eps"),
        ({"attacks": [{"cascade": True, "eps": 8, "attacks": ["fgsm", "pgd"]}]}, "attacks.0.eps"),
        ({"probes": [{"fgsm_robustness": {"eps": 8}}]}, "probes.0.fgsm_robustness.eps"),
        ({"cells": [{**BLOCK, "defense": {"pgd_training": {"eps": 8}}}]}, "cells.0.defense.pgd_training.eps"),
    ],
)
def test_an_eps_in_units_of_0_to_255_is_warned_of_with_what_to_write(tmp_path, changes, key):
    warnings = warned(tmp_path, **changes)
    assert list(warnings) == [key]
    assert HALF in warnings[key]


@pytest.mark.parametrize(
    "attack",
    [
        {"fgsm": {"eps": 1}},
        {"pgd": {"eps": 8, "norm": "l2"}},
        {"fgsm": {"eps": 8, "space": "standardised"}},
        {"fgsm": {"eps": 8, "box": False}},
        {"deepfool": {"norm": "linf"}},
    ],
)
def test_a_radius_that_may_be_meant_is_not_warned_of(tmp_path, attack):
    assert warned(tmp_path, attacks=[attack]) == {}


def test_more_samples_than_a_dataset_has_are_warned_of_where_they_are_asked_for(tmp_path):
    own = [{"deepfool": {"samples": {"each": [5, 700]}}}]
    blocks = [BLOCK, {**BLOCK, "dataset": ["mnist", "digits"], "attacks": own}]
    warnings = warned(tmp_path, samples={"count": 598}, cells=blocks, attacks=[{"cw": {"samples": 9999}}, "deepfool"])
    assert warnings == dict.fromkeys(
        ["samples.count", "cells.1.attacks.0.deepfool.samples.1", "attacks.0.cw.samples"],
        "digits has 597: all of them are taken",
    )


def test_as_many_samples_as_there_are_and_those_of_a_training_are_not_warned_of(tmp_path):
    source = {"training": {"samples": 1000}}
    attacks = [{"fgsm": {"eps": 0.1, "samples": 597, "source": source}}]
    assert warned(tmp_path, samples={"count": 597}, attacks=attacks) == {}


def test_every_command_that_reads_a_spec_says_its_warnings_on_stderr(tmp_path):
    spec, store = write_spec(tmp_path, cells=[BLOCK], attacks=[{"fgsm": {"eps": 8}}]), tmp_path / "store"
    for done in (call("check", spec), call("plan", spec, "--store", store), launch(spec, store)):
        assert done.exit_code == 0
        assert done.stderr.count("warning: line ") == 1
        assert HALF in done.stderr


def test_a_warning_is_a_warning_in_python_too(tmp_path):
    spec = write_spec(tmp_path, attacks=[{"fgsm": {"eps": 8}}])
    with pytest.warns(UserWarning, match=HALF):
        attackgrid.check(spec)


def test_what_asks_for_nothing_without_saying_so_is_refused(tmp_path):
    nothing = [{"fgsm": {"eps": 0.1, "source": {"head": []}}}, {"fgsm": {"eps": 0.1, "source": {"seed": []}}}]
    for attack in nothing:
        assert "is an empty list" in said(tmp_path, attacks=[attack])
    assert "is an empty list" in said(tmp_path, cells=[{**BLOCK, "defense": {"combined": ["natural", []]}}])


def test_a_map_in_a_rule_a_name_that_is_no_text_and_a_profile_that_is_no_map_are_refused(tmp_path):
    assert "not a map" in said(tmp_path, exclude=[{"attack.steps": [{"a": 1}]}])
    assert "must be text" in said(tmp_path, attacks=[{"cascade": True, "name": ["a"], "attacks": ["deepfool"]}])
    assert "must be a map of path: value" in said(tmp_path, profiles={"unused": 3})


def test_one_value_where_a_list_is_due_is_shown_as_a_list(tmp_path):
    cells = [{"dataset": "digits", "architecture": {"mlp": {"hidden": 8}}}]
    with pytest.raises(SpecError) as error:
        load_spec(write_spec(tmp_path, cells=cells))
    assert "a list, each a whole number, at least 1, not 8: write [8]" in str(error.value)
