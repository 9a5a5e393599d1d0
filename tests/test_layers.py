"""Files that extend one another, profiles and --set."""

import textwrap
from pathlib import Path

import pytest

from grid.errors import SpecError
from grid.spec.read import load_spec

BASE = """\
name: base
samples: {count: 40}
cells:
  - dataset: spec_components:fifty
    architecture: {'spec_components:net': {hidden: [8, 8]}}
    head: [softmax, 'spec_components:flat']
    training: {epochs: 5}
  - dataset: spec_components:fifty
    architecture: [spec_components:net]
    training: [{epochs: 6}, {epochs: 7}]
attacks:
  - spec_components:walk
  - {'spec_components:nudge': {eps: 1, steps: 9}}
profiles:
  smoke:
    samples.count: 3
    cells.*.training.epochs: 1
    attacks.*.spec_components:walk.steps: 2
  wrong:
    attacks.*.spec_components:walc.steps: 2
"""


def write(folder: Path, text: str, name: str = "base.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def load(folder: Path, *overrides: str, profile: str | None = None):
    return load_spec(write(folder, BASE), profile=profile, overrides=overrides)


def epochs(spec) -> list[list[object]]:
    return [[training.parameters["epochs"] for training in block.parts["training"]] for block in spec.blocks]


def steps(spec) -> list[object]:
    return [wanted.under.component.parameters["steps"] for wanted in spec.blocks[0].asked]


def test_a_profile_reaches_every_element_maps_lists_and_plain_names(tmp_path):
    assert (epochs(load(tmp_path)), steps(load(tmp_path))) == ([[5], [6, 7]], [5, 9])
    small = load(tmp_path, profile="smoke")
    assert (small.samples.count, epochs(small), steps(small)) == (3, [[1], [1]], [2, 9])


def test_set_comes_after_the_profile_and_takes_yaml(tmp_path):
    spec = load(tmp_path, "samples.count=4", "seeds=[0, 1, 2]", "cells.1.training.0.epochs=11", profile="smoke")
    assert (spec.samples.count, spec.blocks[0].seeds, epochs(spec)) == (4, (0, 1, 2), [[1], [11, 1]])


def test_a_path_adds_what_may_be_there_and_replaces_a_whole_component(tmp_path):
    spec = load(tmp_path, "samples.order=natural", "cells.0.head=softmax", "cells.0.variant=mine")
    assert (spec.samples.order, spec.blocks[0].variant, len(spec.blocks[0].parts["head"])) == ("natural", "mine", 1)
    spec = load(tmp_path, "cells.0.architecture={mlp: {hidden: [3]}}")
    assert [part.name for part in spec.blocks[0].parts["architecture"]] == ["mlp"]
    spec = load(tmp_path, "cells.*.architecture.spec_components:net={dropout: 1/2}")
    chosen = [block.parts["architecture"][0].parameters for block in spec.blocks]
    assert [(each["hidden"], each["dropout"]) for each in chosen] == [([8, 8], 0.5), ([8], 0.5)]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("attacks.*.spec_components:walc.steps=2", "unknown step 'spec_components:walc'. Did you mean 'spec_comp"),
        ("cells.7.seeds=[1]", "unknown step '7'. Known: 0, 1"),
        ("samples.cuont=2", "unknown key 'cuont'. Did you mean 'count'?"),
        ("sampels.count=2", "unknown key 'sampels'. Did you mean 'samples'?"),
        ("samples.count=many", "must be 'all' or a whole number, at least 1, not 'many'"),
        ("samples.count.more=1", "there is no 'more'"),
        ("samples.count", "must be path=value"),
        ("=3", "must be path=value"),
        ("seeds=[1", "not YAML"),
        ("seeds={a: 1, a: 2}", "duplicate key 'a'"),
    ],
)
def test_an_override_in_error_says_which_and_why(tmp_path, override, says):
    with pytest.raises(SpecError) as caught:
        load(tmp_path, override)
    (problem,) = caught.value.problems
    assert problem.line == 0
    assert says in problem.message
    assert f"--set {override}" in str(problem)


def test_a_profile_in_error_says_its_line_and_one_unknown_is_suggested(tmp_path):
    with pytest.raises(SpecError, match=r"line 20, profiles.wrong.*the path matches nothing.*Did you mean"):
        load(tmp_path, profile="wrong")
    with pytest.raises(SpecError, match=r"unknown profile 'smok'. Did you mean 'smoke'"):
        load(tmp_path, profile="smok")
    with pytest.raises(SpecError, match="there is no profile 'x': the spec has none"):
        load_spec(write(tmp_path, "name: a\ncells: []\n"), profile="x")


def test_maps_of_a_file_extended_merge_and_lists_replace(tmp_path):
    write(tmp_path, BASE)
    middle = "extends: ../base.yaml\nsamples: {order: natural}\nseeds: [4, 5]\nprofiles: {smoke: {seeds: [9]}}\n"
    write(tmp_path, middle, "sub/middle.yaml")
    leaf = write(tmp_path, "extends: sub/middle.yaml\nname: leaf\nattacks: [spec_components:walk]\n", "leaf.yaml")
    spec = load_spec(leaf)
    assert (spec.name, spec.samples.count, spec.samples.order) == ("leaf", 40, "natural")
    assert (len(spec.blocks), spec.blocks[0].seeds, steps(spec)) == (2, (4, 5), [5])
    small = load_spec(leaf, profile="smoke")
    assert (small.samples.count, small.blocks[1].seeds) == (3, (9,))


def test_a_problem_of_a_file_extended_names_that_file(tmp_path):
    base = write(tmp_path, BASE.replace("softmax", "softmx"))
    leaf = write(tmp_path, "extends: base.yaml\nname: leaf\nseeds: [-1]\n", "leaf.yaml")
    with pytest.raises(SpecError) as caught:
        load_spec(leaf)
    first, second = caught.value.problems
    assert (first.line, first.key) == (3, "seeds.0")
    assert (second.line, second.key) == (6, "cells.0.head.0")
    assert second.message.startswith(f"in {base}: unknown head 'softmx'. Did you mean 'softmax'?")


@pytest.mark.parametrize(
    ("extends", "says"),
    [
        ("leaf.yaml", "extends itself"),
        ("other.yaml", "extends itself"),
        ("gone.yaml", "there is no file"),
        ("[a, b]", "must be the path of one spec"),
        ("list.yaml", "must be a map"),
        ("torn.yaml", "not YAML"),
    ],
)
def test_an_extends_that_leads_nowhere_is_refused(tmp_path, extends, says):
    write(tmp_path, "extends: leaf.yaml\n", "other.yaml")
    write(tmp_path, "- a\n", "list.yaml")
    write(tmp_path, "a: [\n", "torn.yaml")
    leaf = write(tmp_path, f"extends: {extends}\n" + BASE, "leaf.yaml")
    with pytest.raises(SpecError, match=says):
        load_spec(leaf)


def test_a_profile_may_leave_a_rule_without_a_case_and_the_file_may_not(tmp_path):
    rules = """\
        exclude: [{attack: spec_components:nudge}, {head: softmax}]
        published: [{attack: spec_components:walk, seed: 0, metric: mean_l2, value: 1.5, source: Table 2}]
    """
    path = write(tmp_path, BASE + textwrap.dedent(rules))
    assert len(load_spec(path).exclude) == 2
    spec = load_spec(path, overrides=["attacks=[spec_components:walk]", "seeds=[1]"])
    assert (len(spec.exclude), len(spec.published)) == (1, 0)
    assert spec.exclude[0].allowed == {"head": ("softmax",)}
    write(tmp_path, path.read_text().replace("spec_components:nudge}", "spec_components:nudj}"))
    with pytest.raises(SpecError, match=r"exclude.0: matches no case; none has attack 'spec_components:nudj'"):
        load_spec(path)
