"""What a grid asks for as tables: a row per case, made while the grid is walked; and ids that are written in parts."""

import pytest
from expansions import axes, cases, published_cases
from grids import write_spec

from grid.plan.expand import expand
from grid.plan.wanted import Tables
from grid.spec.read import load_spec
from tasks.config import canonical, identify
from tasks.schema import PUBLISHED, WANTED

ATTACKS = [
    {"fgsm": {"eps": "8/255", "source": {"head": "softmax"}}},
    {"pgd": {"eps": 0.1, "steps": {"each": [1, 2]}}},
    {"universal": {"eps": 0.2, "norm": "linf"}},
]
PUBLISHED_VALUES = [
    {"attack": "pgd", "head": "softmax", "metric": "robust_accuracy", "value": 0.5, "source": "Table 1"},
    {"source.head": "softmax", "attack": "fgsm", "metric": "clean_accuracy", "value": 0.9, "source": "Table 2"},
]


@pytest.fixture
def spec(tmp_path):
    document = {"attacks": ATTACKS, "probes": ["confidence"], "published": PUBLISHED_VALUES}
    return load_spec(write_spec(tmp_path, exclude=[{"head": "softrmax", "attack.steps": [2, 3]}], **document))


def tables(spec):
    made = Tables()
    walked = list(made.watched(expand(spec)))
    return made, walked


def test_the_wanted_table_has_a_row_per_case_that_says_what_it_is(spec):
    made, _ = tables(spec)
    rows = made.wanted().to_pylist()
    wanted = cases(spec)
    assert [row["case_id"] for row in rows] == [each.case.id for each in wanted]
    assert len(wanted) == 2 * 5 - 1
    for row, each in zip(rows, wanted, strict=True):
        case = each.case
        expected = {
            **axes(case),
            "cell_id": case.cell.id,
            "cell_json": canonical(case.cell.resolved()),
            f"{case.under.kind}_json": canonical(case.under.resolved()),
            "prepared_id": case.prepared_id if case.name == "universal" else None,
            "samples_wanted": 40,
            "asked": True,
        }
        assert {name: row[name] for name in expected} == expected
    assert made.wanted().column_names == WANTED.names


def test_the_stream_goes_through_unchanged_and_a_cell_without_cases_has_a_row(tmp_path):
    spec = load_spec(write_spec(tmp_path, attacks=[]))
    made, walked = tables(spec)
    assert [each.cell.id for each in walked] == [each.cell.id for each in expand(spec)]
    rows = made.wanted().to_pylist()
    assert [(row["case_id"], row["attack"], row["samples_wanted"]) for row in rows] == [(None, None, 0)] * 2
    assert made.published(spec.published).num_rows == 0


def test_a_cell_that_only_another_needs_is_there_and_not_asked_for(tmp_path):
    attacks = [{"fgsm": {"eps": 0.1, "source": {"seed": 7}}}]
    made, walked = tables(load_spec(write_spec(tmp_path, attacks=attacks)))
    rows = made.wanted().to_pylist()
    assert [(row["seed"], row["asked"], row["source"]) for row in rows] == [
        (0, True, "seed 7"),
        (0, True, "seed 7"),
        (7, False, None),
        (7, False, None),
    ]
    assert [each.asked for each in walked] == [True, True, False, False]


def test_the_published_table_has_each_value_with_each_case_it_is_about(spec):
    made, _ = tables(spec)
    table = made.published(spec.published)
    assert table.schema.names == PUBLISHED.names
    found = {(row["source"], row["case_id"]) for row in table.to_pylist()}
    assert found == {(value.source, wanted.case.id) for value, wanted in published_cases(spec)}
    assert sorted(source for source, _ in found) == ["Table 1"] * 2 + ["Table 2"] * 2


def test_an_id_that_is_written_in_parts_is_the_hash_of_all_that_it_stands_for(spec):
    for wanted in cases(spec):
        case, cell = wanted.case, wanted.case.cell
        assert cell.part_of_id == canonical(cell.resolved())
        assert cell.id == identify(cell.resolved())
        under = case.attack.id if case.under.kind == "attack" else case.probe.resolved()
        source = case.source.id if case.source else None
        parts = {"cell": cell.id, case.under.kind: under, "order": case.order, "source": source}
        assert case.id == identify(parts)


def test_a_case_under_a_probe_has_no_attack_and_the_other_way_round(spec):
    for wanted in cases(spec):
        with pytest.raises(TypeError, match=f"case {wanted.case.id} is under the"):
            _ = wanted.case.probe if wanted.case.under.kind == "attack" else wanted.case.attack
