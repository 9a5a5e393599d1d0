"""From a spec to cells and cases: literals in, literals out."""

import itertools
import textwrap
from pathlib import Path

import pytest
from expansions import axes, cases, cells

import grid.plan.expand
from grid.plan.asked import GridSpec
from grid.plan.expand import expand
from grid.plan.labels import under_columns
from grid.spec.read import load_spec
from tasks.config import CELL_AXES, Component

QUICKSTART = Path(__file__).parent.parent / "specs/quickstart.yaml"
NET = "architecture: 'spec_components:net'"
FIFTY = f"dataset: 'spec_components:fifty', {NET}"


def load(folder: Path, text: str) -> GridSpec:
    path = folder / "a.yaml"
    path.write_text("name: a\n" + textwrap.dedent(text))
    return load_spec(path)


def test_cases_come_cell_by_cell_in_the_order_written(tmp_path):
    spec = load(
        tmp_path,
        """
        seeds: [0, 1]
        cells: [{dataset: 'spec_components:fifty', architecture: 'spec_components:net', head: [softmax, softrmax]}]
        attacks: [{'spec_components:walk': {steps: {each: [2, 1]}}}, {'spec_components:nudge': {eps: 1}}]
        """,
    )
    found = [
        (w.case.cell.head.name, w.case.cell.seed, w.case.attack.component.parameters["steps"]) for w in cases(spec)
    ]
    assert found == list(itertools.product(["softmax", "softrmax"], [0, 1], [2, 1, 10]))
    assert len({wanted.case.id for wanted in cases(spec)}) == 12


@pytest.mark.parametrize(
    ("count", "own", "wanted"), [("20", "", 20), ("20", "7", 7), ("900", "", 50), ("all", "", 50), ("20", "60", 50)]
)
def test_samples_are_those_asked_for_and_never_more_than_there_are(tmp_path, count, own, wanted):
    attack = f"{{'spec_components:walk': {{samples: {own}}}}}" if own else "'spec_components:walk'"
    spec = load(tmp_path, f"samples: {{count: {count}}}\ncells: [{{{FIFTY}}}]\nattacks: [{attack}]")
    assert [found.samples for found in cases(spec)] == [wanted]


def test_a_case_that_several_blocks_ask_for_comes_once_with_the_most_samples(tmp_path):
    spec = load(
        tmp_path,
        f"""
        samples: {{count: 10}}
        cells:
          - {{{FIFTY}, variant: published, head: [softmax, softrmax]}}
          - {{{FIFTY}, variant: corrected, seeds: [1]}}
          - dataset: spec_components:fifty
            architecture: spec_components:net
            variant: corrected
            attacks: [{{'spec_components:walk': {{samples: 30}}}}, {{'spec_components:nudge': {{eps: 1}}}}]
        attacks: ['spec_components:walk', {{'spec_components:walk': {{samples: 5}}}}]
        """,
    )
    found = [
        (w.case.cell.head.name, w.case.cell.seed, w.case.attack.component.name[16:], w.samples, w.variant)
        for w in cases(spec)
    ]
    assert found == [
        ("softmax", 0, "walk", 30, "published, corrected"),
        ("softmax", 0, "nudge", 10, "corrected"),
        ("softrmax", 0, "walk", 10, "published"),
        ("softmax", 1, "walk", 10, "corrected"),
    ]
    assert len(list(cells(spec))) == 3


def test_an_exclusion_by_variant_leaves_what_another_block_asks_for(tmp_path):
    spec = load(
        tmp_path,
        f"""
        cells: [{{{FIFTY}, variant: one}}, {{{FIFTY}, variant: two}}]
        attacks: ['spec_components:walk']
        exclude: [{{variant: one}}]
        """,
    )
    assert [wanted.variant for wanted in cases(spec)] == ["two"]


def test_a_block_without_attacks_wants_its_cells_alone(tmp_path):
    spec = load(tmp_path, f"cells: [{{{FIFTY}, attacks: []}}]\nattacks: ['spec_components:walk']")
    assert (len(list(cases(spec))), len(list(cells(spec)))) == (0, 1)


def test_the_order_of_samples_is_the_grids(tmp_path):
    spec = load(tmp_path, f"samples: {{order: natural}}\ncells: [{{{FIFTY}}}]\nattacks: ['spec_components:walk']")
    assert [wanted.case.order for wanted in cases(spec)] == ["natural"]


def test_the_axes_of_a_case_say_what_is_not_the_default(tmp_path):
    spec = load(
        tmp_path,
        """
        cells:
          - dataset: spec_components:fifty
            architecture: {'spec_components:net': {hidden: [4, 4], dropout: 0}}
            training: {epochs: 3}
        attacks: [{'spec_components:nudge': {eps: 8/255, norm: l2, space: standardised, box: false, rule: raw}}]
        """,
    )
    ((wanted),) = cases(spec)
    assert axes(wanted.case) == {
        "dataset": "spec_components:fifty",
        "architecture": "spec_components:net",
        "activation": "relu",
        "head": "softmax",
        "defense": "natural",
        "inputs": "standardised",
        "initialisation": "torch",
        "seed": 0,
        "probe": None,
        "attack": "spec_components:nudge",
        "norm": "l2",
        "eps": 8 / 255,
        "eps_label": "8/255",
        "space": "standardised",
        "box": False,
        "probe_label": None,
        "architecture_label": "spec_components:net(hidden=[4, 4])",
        "activation_label": "relu",
        "defense_label": "natural",
        "cell_label": "spec_components:fifty / spec_components:net(hidden=[4, 4]) / relu / softmax / natural"
        " / epochs=3 / seed 0",
        "source": None,
        "source_cell_id": None,
        "attack_label": "spec_components:nudge(eps=8/255, norm=l2, space=standardised, box=false, rule=raw)",
    }


def test_a_cell_by_itself_and_a_minimal_norm_attack_leave_null_what_is_not_there(tmp_path):
    spec = load(tmp_path, f"cells: [{{{FIFTY}}}]\nattacks: ['spec_components:walk']")
    (wanted,) = cases(spec)
    of_case = axes(wanted.case)
    assert (of_case["eps"], of_case["eps_label"], of_case["norm"], of_case["attack_label"]) == (
        None,
        None,
        "l2",
        "spec_components:walk",
    )
    assert set(under_columns(None).values()) == {None}


def test_the_axes_are_columns_of_the_wanted_table(tmp_path):
    from tasks.schema import WANTED  # noqa: PLC0415 - only this test needs pyarrow

    (wanted,) = cases(load(tmp_path, f"cells: [{{{FIFTY}}}]\nattacks: ['spec_components:walk']"))
    columns = axes(wanted.case)
    assert set(columns) == {name for name in WANTED.names if name in columns}
    assert [name for name in WANTED.names if name in CELL_AXES] == list(CELL_AXES)


def test_a_component_of_another_version_or_seed_is_another_cell(tmp_path):
    first, second = cells(load(tmp_path, f"seeds: [0, 1]\ncells: [{{{FIFTY}}}]"))
    assert first.id != second.id
    head = Component("head", first.head.name, first.head.version + 1, first.head.parameters)
    assert type(first)(**{**vars_of(first), "head": head}).id != first.id


def vars_of(cell) -> dict:
    return {name: getattr(cell, name) for name in type(cell).__dataclass_fields__}


def test_a_large_grid_is_walked_lazily_and_what_its_cells_share_is_made_once(tmp_path, monkeypatch):
    spec = load(
        tmp_path,
        f"""
        seeds: [{", ".join(map(str, range(250)))}]
        cells:
          - {{{FIFTY}, head: [softmax, softrmax], variant: one}}
          - {{{FIFTY}, head: [softmax], variant: two}}
        attacks: [{{'spec_components:nudge': {{eps: 1, steps: {{each: [{", ".join(map(str, range(1, 201)))}]}}}}}}]
        """,
    )
    walked = []
    for wanted in expand(spec):
        walked.append(wanted.cell)
        assert len(list(itertools.islice(wanted.cases(), 10))) == 10
        if len(walked) == 3:
            break
    asked = []
    count = grid.plan.expand.num_samples
    monkeypatch.setattr(grid.plan.expand, "num_samples", lambda *given: asked.append(given) or count(*given))
    assert sum(len(wanted.asks) for wanted in expand(spec)) == 100_000
    assert len(asked) == 2 * 200  # once for what each block asks of cells alike, not for each of 250 seeds


def test_the_ids_of_the_quickstart_are_what_they_were():
    """What is stored answers to these: whoever changes numbers bumps a version, and then these."""
    spec = load_spec(QUICKSTART)
    assert [(cell.head.name, cell.id) for cell in cells(spec)] == [
        ("softmax", "55b7e2876f13b636"),
        ("softrmax", "793092ef1b795c2e"),
    ]
    assert len(list(cases(spec))) == 11


def test_the_smoke_profile_of_the_quickstart_shrinks_every_case():
    spec = load_spec(QUICKSTART, profile="smoke")
    assert {wanted.samples for wanted in cases(spec)} == {20}
    assert {cell.training.parameters["epochs"] for cell in cells(spec)} == {1}
