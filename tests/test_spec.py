"""What a spec may say, and what is said of one that is wrong. Components are those of spec_components.py."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from expansions import cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grid.errors import Problem, SpecError
from grid.spec.read import GridSpec, load_spec, parse_document

BLOCK = "{dataset: 'spec_components:fifty', architecture: 'spec_components:net'}"


def write(folder: Path, text: str, name: str = "a.yaml") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def spec_of(folder: Path, rest: str, **how) -> GridSpec:
    return load_spec(write(folder, f"name: a\ncells: [{BLOCK}]\n" + textwrap.dedent(rest)), **how)


def problems_of(folder: Path, rest: str, **how) -> list[Problem]:
    """The problems of a spec whose own lines start at 3."""
    with pytest.raises(SpecError) as caught:
        spec_of(folder, rest, **how)
    return caught.value.problems


def attack_of(spec: GridSpec):
    (wanted,) = spec.blocks[0].asked
    return wanted.under


def test_what_is_not_written_has_its_default(tmp_path):
    spec = spec_of(tmp_path, "")
    (block,) = spec.blocks
    assert (spec.samples.count, spec.samples.order, [t.name for t in spec.tables]) == (
        None,
        "shuffled",
        ["robust_accuracy"],
    )
    assert [block.parts[part][0].name for part in ("activation", "head", "defense")] == ["relu", "softmax", "natural"]
    assert (block.seeds, block.asked, block.variant) == ((0,), (), "")
    assert block.parts["training"][0].parameters["epochs"] >= 1


def test_defaults_are_filled_in_as_their_type_spells_them(tmp_path):
    dropout = spec_of(tmp_path, "").blocks[0].parts["architecture"][0].parameters["dropout"]
    assert (repr(dropout), spec_of(tmp_path, "").blocks[0].parts["architecture"][0].version) == ("0.0", 3)


def test_an_int_and_the_same_float_have_one_id(tmp_path):
    one = attack_of(spec_of(tmp_path, "attacks: {'spec_components:nudge': {eps: 1}}"))
    same = attack_of(spec_of(tmp_path, "attacks: {'spec_components:nudge': {eps: 1.0}}"))
    assert one.id == same.id


def test_a_fraction_is_a_number_and_keeps_its_label(tmp_path):
    attack = attack_of(spec_of(tmp_path, "attacks: [{'spec_components:nudge': {eps: 8/255}}]"))
    assert (attack.budget.eps, attack.eps_label) == (8 / 255, "8/255")
    attack = attack_of(spec_of(tmp_path, "attacks: [{'spec_components:nudge': {eps: 1e-3}}]"))
    assert (attack.budget.eps, attack.eps_label) == (0.001, "1e-3")


def test_the_budget_is_read_from_the_attack_and_the_spec(tmp_path):
    rest = "attacks: [{'spec_components:nudge': {eps: 1, norm: l2, space: standardised, box: false, samples: 7}}]"
    (wanted,) = spec_of(tmp_path, rest).blocks[0].asked
    budget = wanted.under.budget
    assert (budget.norm, budget.space, budget.box, budget.beyond, wanted.samples) == (
        "l2",
        "standardised",
        False,
        "error",
        7,
    )
    budget = attack_of(spec_of(tmp_path, "attacks: ['spec_components:walk']")).budget
    assert (budget.norm, budget.eps, budget.box) == ("l2", None, True)


def test_a_procedure_known_to_leave_its_ball_is_allowed_to(tmp_path):
    rest = "attacks: [{'spec_components:nudge': {eps: 1, rule: raw}}]"
    assert attack_of(spec_of(tmp_path, rest)).budget.beyond == "allowed"


def test_each_varies_parameters_as_a_product_and_a_list_is_a_value(tmp_path):
    spec = load_spec(
        write(
            tmp_path,
            """
            name: a
            cells:
              - dataset: spec_components:fifty
                architecture: {'spec_components:net': {hidden: {each: [[8], [4, 4]]}, dropout: {each: [0.1, 1/2]}}}
            """,
        )
    )
    found = [(c.parameters["hidden"], c.parameters["dropout"]) for c in spec.blocks[0].parts["architecture"]]
    assert found == [([8], 0.1), ([8], 0.5), ([4, 4], 0.1), ([4, 4], 0.5)]


def test_an_axis_lists_components_and_the_same_twice_is_one(tmp_path):
    text = """
        name: a
        cells:
          - dataset: spec_components:fifty
            architecture: [spec_components:net, {'spec_components:net': {hidden: [8]}}]
            head: [softmax, {'spec_components:flat': {scale: {each: [1, 1.0, 2]}}}]
            training: [{epochs: 1}, {epochs: {each: [1, 2]}}]
        """
    (block,) = load_spec(write(tmp_path, text)).blocks
    assert (len(block.parts["architecture"]), len(block.parts["head"]), len(block.parts["training"])) == (1, 3, 2)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("3.0", "must be a whole number, at least 1, not 3.0"),
        ("true", "must be a whole number, at least 1, not true"),
        ("'3'", "must be a whole number, at least 1, not '3'"),
        ("0", "must be a whole number, at least 1, not 0"),
        ("4/2", "must be a whole number, at least 1, not '4/2'"),
        ("yes", "must be a whole number, at least 1, not 'yes'"),
        (".nan", ".nan is not a finite number"),
        ("99999999999999999999", "99999999999999999999 is too large: whole numbers have at most 64 bits"),
        ("{each: 3}", "each: takes a list of values"),
        ("{each: []}", "each: takes a list of values"),
        ("{a: 3}", "must be a whole number, at least 1, not a map"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_in_plain_words(tmp_path, value, says):
    (problem,) = problems_of(tmp_path, f"attacks:\n  - spec_components:walk:\n      steps: {value}\n")
    assert (problem.line, problem.message) == (5, says)
    assert problem.key.startswith("attacks.0.spec_components:walk.steps")


@pytest.mark.parametrize("eps", ["0", "-0.1", "-8/255", "1/0", "true", ".inf", "1e999", "null", "[0.1]"])
def test_an_eps_that_is_no_positive_number_is_refused(tmp_path, eps):
    (problem,) = problems_of(tmp_path, f"attacks: [{{'spec_components:nudge': {{eps: {eps}}}}}]")
    assert problem.key == "attacks.0.spec_components:nudge.eps"


@pytest.mark.parametrize(
    ("attack", "key", "says"),
    [
        ("spec_components:nudge", ".eps", "needs an eps, such as 8/255"),
        ("{'spec_components:walk': {targets: 1}}", ".targets", "this attack cannot aim at a class"),
        ("{'spec_components:walk': {norm: linf}}", ".norm", "must be 'l2', not 'linf'"),
        ("{'spec_components:walk': {stepz: 1}}", ".stepz", "Did you mean 'steps'?"),
        ("spec_components:needy", ".goal", "needs it"),
        ("spec_components:clash", "", "cannot be used: it declares parameters ['eps']"),
        ("spec_components:wrong_default", "", "the default of 'steps' must be a whole number, at least 1, not 0"),
        ("spec_components:fifty", "", "is not declared with @component('attack', ...)"),
        ("spec_components:nothing", "", "no function 'nothing'"),
        ("no_such_package:nothing", "", "there is no module 'no_such_package'"),
        (
            "{'spec_components:nudge': {eps: 1, rule: sing}}",
            ".rule",
            "must be one of 'sign', 'raw', not 'sing'. Did you mean 'sign'?",
        ),
    ],
)
def test_an_attack_that_cannot_be_is_refused(tmp_path, attack, key, says):
    (problem,) = problems_of(tmp_path, f"attacks:\n  - {attack}\n")
    assert problem.line == 4
    assert problem.key.startswith("attacks.0")
    assert problem.key.endswith(key)
    assert says in problem.message


def test_all_problems_are_reported_at_once_each_with_its_line(tmp_path):
    path = write(
        tmp_path,
        """\
        name: has spaces
        samples: {cuont: 3, order: random}
        seeds: [0, -1]
        cells:
          - dataset: digitz
            architecture: {mlp: {hiden: [64]}, cnn: {}}
            trainin: {}
          - head: []
        attacks:
          - spec_components:walk
          - pdg
        tables: [robust_acuracy]
        exclude:
          - {haed: softmax}
          - {seed: '0', box: 1}
        published:
          - {metric: robust_acc, value: 97, source: Table 1}
          - {metric: robust_accuracy, value: 97}
        """,
    )
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    found = [(problem.line, problem.key) for problem in caught.value.problems]
    assert found == [
        (1, "name"),
        (2, "samples.cuont"),
        (2, "samples.order"),
        (3, "seeds.1"),
        (5, "cells.0.dataset"),
        (6, "cells.0.architecture"),
        (7, "cells.0.trainin"),
        (8, "cells.1.architecture"),
        (8, "cells.1.dataset"),
        (8, "cells.1.head"),
        (11, "attacks.1"),
        (12, "tables.0"),
        (14, "exclude.0.haed"),
        (15, "exclude.1.box"),
        (15, "exclude.1.seed"),
        (17, "published.0.metric"),
        (18, "published.1.source"),
        (18, "published.1.value"),
    ]
    assert "line 12, tables.0: unknown table 'robust_acuracy'. Did you mean 'robust_accuracy'?" in str(caught.value)
    assert str(caught.value).startswith(f"{path}: 18 problems\n")


def test_a_rule_that_selects_nothing_says_which_axis_never_has_the_value(tmp_path):
    rest = """\
        attacks: [spec_components:walk]
        exclude:
          - {head: softmx, attack: spec_components:walk}
          - {attack.steps: 6}
    """
    first, second = problems_of(tmp_path, rest)
    assert (first.line, first.key, first.message) == (5, "exclude.0", "matches no case; none has head 'softmx'")
    assert (second.line, second.message) == (6, "matches no case; none has attack.steps 6")


def test_an_empty_grid_is_refused(tmp_path):
    assert [p.message for p in problems_of(tmp_path, "exclude: [{seed: 0}]")] == [
        "the grid is empty: every case is excluded"
    ]
    with pytest.raises(SpecError, match="cells: must be a list with at least one entry"):
        load_spec(write(tmp_path, "name: a\n"))
    with pytest.raises(SpecError, match="line 2, cells: must be a list"):
        load_spec(write(tmp_path, "name: a\ncells: []\n"))


def test_a_dataset_without_a_size_needs_a_count(tmp_path):
    block = BLOCK.replace("fifty", "unsized")
    with pytest.raises(SpecError, match="does not declare how many samples it has: give a count"):
        load_spec(write(tmp_path, f"name: a\ncells: [{block}]\n"))
    assert load_spec(write(tmp_path, f"name: a\nsamples: {{count: 5}}\ncells: [{block}]\n")).samples.count == 5


def test_a_document_is_complete_in_itself_and_reads_back_the_same(tmp_path):
    (tmp_path / "values.csv").write_text(
        "attack,eps,metric,value,source,note\nspec_components:nudge,8/255,robust_accuracy,0.25,Table 1,\"a: b, 'c'\"\n"
    )
    rest = """\
        attacks: [{'spec_components:nudge': {eps: {each: [8/255, 1e-3, 0.10]}}}]
        samples: {count: 20}
        published: values.csv
        exclude: [{eps: 1e-3}]
        profiles: {tiny: {samples.count: 2}}
    """
    spec = spec_of(tmp_path, rest, profile="tiny", overrides=["cells.*.variant='on'"])
    again = parse_document(spec.document, "store")
    assert again == spec
    assert (again.samples.count, again.blocks[0].variant, again.published[0].note) == (2, "on", "a: b, 'c'")
    labels = [wanted.under.eps_label for wanted in again.blocks[0].asked]
    assert labels == ["8/255", "1e-3", "0.10"]
    assert [w.case.id for w in cases(again)] == [w.case.id for w in cases(spec)]
    assert "profiles" not in spec.document
    with pytest.raises(SpecError, match="has no place in a merged document"):
        parse_document(spec.document + "extends: b.yaml\n", "store")


def test_a_spec_is_checked_without_loading_an_engine(tmp_path):
    path = write(tmp_path, f"name: a\ncells: [{BLOCK}]\nattacks: ['spec_components:walk']\n")
    code = (
        "import sys, pathlib; from grid.spec.read import load_spec; from grid.plan.expand import expand;"
        f"print(sum(len(list(wanted.cases())) for wanted in expand(load_spec(pathlib.Path({str(path)!r})))));"
        "print([m for m in ('torch', 'ray', 'duckdb', 'pyarrow', 'sklearn', 'numpy') if m in sys.modules])"
    )
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": f"{here}:{here.parent}"},
    )
    assert done.stdout.splitlines() == ["1", "[]"]


WORDS = ["name", "cells", "attacks", "each", "eps", "dataset", "spec_components:nudge", "spec_components:net", "seed"]
ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.floats(), st.sampled_from([*WORDS, "8/255", "..", ""])
)
TREES = st.recursive(
    ATOMS,
    lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(st.sampled_from(WORDS), part, max_size=3)),
    max_leaves=8,
)
PLACES = [
    *("name", "samples", "samples.count", "seeds", "cells", "cells.0", "cells.0.training", "cells.0.training.epochs"),
    *("cells.0.architecture", "cells.0.head", "attacks", "attacks.0", "attacks.0.spec_components:nudge"),
    *("attacks.0.spec_components:nudge.eps", "exclude", "exclude.0", "tables", "published", "published.0", "extra"),
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(PLACES), tree=TREES)
def test_whatever_is_written_is_a_grid_or_a_list_of_problems(tmp_path, place, tree):
    rest = """\
        attacks: [{'spec_components:nudge': {eps: 1}}]
        exclude: [{seed: 3}]
        published: [{seed: 0, metric: mean_l2, value: 1, source: Table 1}]
    """
    try:
        spec = spec_of(tmp_path, rest, overrides=[f"{place}={json.dumps(tree)}"])
    except SpecError:
        return
    assert parse_document(spec.document, "store") == spec
