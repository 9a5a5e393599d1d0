"""Snapshots: a number that a component computes moves only with its version."""

import json
from dataclasses import replace

import pinned
import pinning
import pytest
from pinned import Case, Pinned, Snapshot, moved, plain
from pinned_choices import choices
from pinning import components, examine

from tasks.registry import FOLDERS, Parameter, describe, names

PGD, FGSM = describe("attack", "pgd"), describe("attack", "fgsm")
RELU = describe("activation", "relu")


@pytest.mark.snapshot
@pytest.mark.parametrize("component", components(), ids=lambda each: f"{each.kind}-{each.name}")
def test_what_a_component_computes_is_what_its_version_computed(component):
    verdict = examine(component)
    assert not verdict.problem, verdict.problem
    if verdict.absent:
        pytest.skip(f"all else is as it was, but there are no real files for {verdict.absent[0]}")


def test_every_component_is_pinned_but_for_those_of_other_libraries():
    pinned_ones = {(each.kind, each.name) for each in components()}
    left_out = {(kind, name) for kind in FOLDERS for name in names(kind)} - pinned_ones
    assert left_out == {("attack", peer) for peer in ("art", "foolbox", "torchattacks")}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of snapshots with those of FGSM alone."""
    source = pinned.path_of("attack", "fgsm", FGSM.version)
    monkeypatch.setattr(pinned, "FOLDER", tmp_path)
    target = pinned.path_of("attack", "fgsm", FGSM.version)
    target.parent.mkdir()
    target.write_bytes(source.read_bytes())
    return target


def stored(target):
    return json.loads(target.read_text())


def changed(target, change):
    content = stored(target)
    change(content["cases"])
    target.write_text(json.dumps(content))


def only(monkeypatch, *descriptions):
    monkeypatch.setattr(pinning, "components", lambda: list(descriptions))


def test_a_moved_number_is_said_with_component_version_case_both_numbers_and_how_to_bump(folder):
    def change(cases):
        cases[0]["found"]["l2"][2] *= 1.001

    before = stored(folder)["cases"][0]["found"]["l2"][2]
    changed(folder, change)
    problem = examine(FGSM).problem
    assert f"attack fgsm, version {FGSM.version}: numbers moved" in problem
    assert 'norm="linf"' in problem
    assert 'gradient="log_odds"' in problem
    assert f"l2[2]: was {before * 1.001}, is {before}" in problem
    assert f"write version={FGSM.version + 1} in tasks/attacks/fgsm.py, then `make snapshots`" in problem


def test_make_snapshots_never_overwrites_a_number_of_the_same_version(folder, monkeypatch, capsys):
    def change(cases):
        cases[3]["found"]["steps"][0] += 1
        del cases[-1]

    changed(folder, change)
    before = folder.read_bytes()
    only(monkeypatch, FGSM)
    assert pinning.main() == 1
    assert folder.read_bytes() == before
    assert "steps[0]: was" in capsys.readouterr().err


def test_a_version_without_a_snapshot_is_a_problem_until_it_is_taken_and_leaves_the_older_one_alone(
    folder, monkeypatch, capsys
):
    bumped = replace(FGSM, version=FGSM.version + 1)
    assert examine(bumped).problem.endswith("fgsm.2.json: `make snapshots`")
    older = folder.read_bytes()
    only(monkeypatch, bumped)
    assert pinning.main() == 0
    assert "fgsm.2.json: " in capsys.readouterr().out
    assert not examine(bumped).problem
    assert folder.read_bytes() == older
    folder.unlink()
    assert not examine(bumped).problem


def test_a_new_component_has_to_be_pinned(folder):
    assert "activation relu, version 1, has no snapshot" in examine(RELU).problem


def test_a_case_that_is_missing_is_said_and_appended(folder, monkeypatch, capsys):
    changed(folder, lambda cases: cases.pop())
    rest = stored(folder)["cases"]
    assert "its snapshot lacks\n  case norm=" in examine(FGSM).problem
    only(monkeypatch, FGSM)
    assert pinning.main() == 0
    assert stored(folder)["cases"][:-1] == rest
    assert not examine(FGSM).problem


def test_a_parameter_added_later_leaves_what_is_pinned_as_it_is_and_asks_for_its_own_cases():
    known = Snapshot("attack", "pgd", 1, [Pinned(Case({}, {"steps": 40}), {})])
    wider = replace(PGD, parameters={"steps": Parameter(int, "int", 40), "added": Parameter(bool, "bool", False)})
    defaults = {"steps": 40, "added": False}
    cases = [Case({}, parameters) for parameters in choices(wider)]
    assert [case.parameters for case in cases if not known.has(case, defaults)] == [
        {"steps": 20, "added": False},
        {"steps": 40, "added": True},
    ]


def test_a_case_from_before_a_parameter_is_worked_out_with_the_constant_that_it_stood_for(folder):
    def change(cases):
        cases[:] = [case for case in cases if case["parameters"].pop("gradient") == "head"]

    changed(folder, change)
    assert "numbers moved" in examine(FGSM).problem
    verdict = examine(replace(FGSM, added={"gradient": "head"}))
    assert not verdict.moved
    assert {each.case.parameters["gradient"] for each in verdict.missing} == {"log_odds", "score"}


def test_counts_and_words_are_compared_exactly_and_numbers_beyond_rounding():
    def lines(was, now):
        return moved(Pinned(Case({}, {}), {"it": was}), {"it": now})

    assert not lines([1.0, 2.0], [1.0 + 1e-8, 2.0])
    assert lines([1.0, 2.0], [1.0, 2.0001]) == ["it[1]: was 2.0, is 2.0001"]
    assert lines(3, 4) == ["it: was 3, is 4"]
    assert lines({"a": None}, {"a": 0.5}) == ["it[a]: was null, is 0.5"]
    assert lines([1.0], [1.0, 2.0]) == ["it: was [1.0], is [1.0, 2.0]"]
    assert moved(Pinned(Case({}, {}), {"a": 1}), {"b": 1}) == ["a: is only there before", "b: is only there now"]


def test_numbers_are_kept_with_ten_digits_and_what_is_not_finite_as_null():
    assert plain([1 / 3, float("nan"), 7, True, "word"]) == [0.3333333333, None, 7, True, "word"]


def test_every_listed_choice_of_a_component_is_a_case_of_its_snapshot():
    cases = stored(pinned.path_of("attack", "apgd", describe("attack", "apgd").version))["cases"]
    assert {case["parameters"]["loss"] for case in cases} == {"ce", "dlr", "targeted_dlr"}
    asked = {(case["under"]["norm"], case["under"]["aim"], case["under"]["model"]) for case in cases}
    plain = {(norm, aim, "plain") for norm in ("linf", "l2") for aim in ("untargeted", "targeted")}
    capped = {(norm, "untargeted", "capped") for norm in ("linf", "l2")}
    assert asked == plain | capped | {("linf", "untargeted", "drawing")}
