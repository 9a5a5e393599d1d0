"""The spec of the capped rectifiers: its tables have the size of the dissertation's, and a small part is really run."""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from expansions import cases, cells, published_cases
from grids import answered, call

from grid.spec.read import load_spec

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
SPEC = ROOT / "specs" / "capped_relu.yaml"
VALUES = {
    "Table 4.2": 4 * 4 * 5,
    "Table 4.3": 3 * 4 * 4,
    "Table 5.1": 2 * 4 * 6,
    **dict.fromkeys(("Table 5.2", "Table 5.3", "Table 5.4"), 6 * 4 * 6),
    "Table 5.5": 3 * 6 * 3 * 2,
    **dict.fromkeys(("Table 5.6", "Table 5.7", "Table 5.8"), 6 * 2 * 6),
    "Table 5.9": 3 * 6 * 2 * 2,
}
SEEDS = (0, 1, 2)


@cache
def spec():
    return load_spec(SPEC)


@cache
def found():
    """Every published value with its cases."""
    return list(published_cases(spec()))


def test_the_published_values_are_all_accuracies_of_the_dissertations_tables():
    assert Counter(value.source for value in spec().published) == VALUES
    assert {value.metric for value in spec().published} == {"clean_accuracy", "robust_accuracy"}


def test_every_published_value_is_about_one_case_of_each_variant_and_seed():
    about = {}
    for value, wanted in found():
        about.setdefault(id(value), []).append((wanted.variant, wanted.case.cell.seed))
    assert len(about) == sum(VALUES.values())
    each = sorted((variant, seed) for variant in ("published", "corrected") for seed in SEEDS)
    assert all(sorted(cases) == each for cases in about.values())


def test_the_networks_of_a_table_are_those_that_the_dissertation_trained():
    networks = {}
    for value, wanted in found():
        networks.setdefault(value.source, set()).add(wanted.case.cell.id)
    assert {source: len(ids) // len(SEEDS) for source, ids in networks.items()} == {
        "Table 4.2": 4 * 4,
        "Table 4.3": 3 * 4,
        "Table 5.1": 2 * 4,
        **dict.fromkeys(("Table 5.2", "Table 5.3", "Table 5.4"), 6 * 4),
        "Table 5.5": 3 * 6 * 3,
        **dict.fromkeys(("Table 5.6", "Table 5.7", "Table 5.8"), 6 * 2),
        "Table 5.9": 3 * 6 * 2,
    }


def test_no_published_value_is_about_examples_made_on_another_network():
    assert all(wanted.case.source is None for _, wanted in found())


def test_the_figures_have_every_cap_layer_and_changed_cap():
    probed = Counter(
        (wanted.case.probe.name, wanted.case.probe.component.parameters.get("variant"))
        for wanted in cases(spec())
        if wanted.case.under.kind == "probe"
    )
    assert probed == {
        # The capped ones a second time, with images made on the network without caps.
        ("perturbation_growth", None): (1 + 2 * 5 * 4) * 3,
        ("zero_gradient_distance", None): 3 * 3 * 3 * 15 * 3,
        ("sensitivity_map", "published"): 4 * 3,
        ("sensitivity_map", "corrected"): 4 * 3,
    }


def test_a_sweep_of_balancers_trains_every_network_with_each():
    swept = Counter(
        cell.activation.parameters["balancer"]
        for cell in cells(spec())
        if cell.activation.name == "drelu" and cell.architecture.parameters["extra_dense"]
    )
    assert swept == dict.fromkeys((0.0, 1e-7, 0.1, 1.0, 100.0, 10_000.0), (2 + 6 * 6) * 3)


def test_the_published_and_the_corrected_procedure_share_no_case():
    assert {wanted.variant for wanted in cases(spec())} == {"published", "corrected"}


@pytest.mark.parametrize(("profile", "source"), [("table_4_2", "Table 4.2"), ("table_4_3", "Table 4.3")])
def test_a_profile_of_one_table_measures_its_values_on_all_test_images(profile, source):
    cases = [(v, w) for v, w in published_cases(load_spec(SPEC, profile=profile)) if v.source == source]
    share = 2 if profile == "table_4_2" else 1
    assert len({id(value) for value, _ in cases}) == VALUES[source] // share
    steps = [wanted for _, wanted in cases if wanted.case.attack.name in {"fgsm", "pgd"}]
    assert {wanted.samples for wanted in steps} == {10_000}
    assert {wanted.case.cell.seed for wanted in steps} == set(SEEDS)


def test_the_smoke_profile_has_every_component_of_the_study():
    parts = [set(), set()]
    for found_parts, profile in zip(parts, (None, "smoke"), strict=True):
        for wanted in cases(load_spec(SPEC, profile=profile)):
            case = wanted.case
            asked = case.name
            found_parts |= {asked, case.cell.activation.name, case.cell.defense.name}
    assert parts[0] == parts[1] > {"drelu", "trades", "fgsm_training", "square", "sensitivity_map"}


@pytest.mark.slow
def test_the_tables_of_the_study_are_complete_on_real_images(tmp_path):
    if not (DATA / "FashionMNIST").exists():
        pytest.skip(f"no Fashion-MNIST under {DATA}")
    store = tmp_path / "store"
    result = call(
        "launch", SPEC, "--profile", "smoke", "--store", store, "--address", "inline", "--data-root", DATA,
        "--set", "exclude=[{dataset: cifar10}, {architecture: cnn_small}]", "--set", "samples.count=10",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    tables = {
        name: answered(call("table", store, name, "--json"))
        for name in ("published", "robust_accuracy", "worst_case", "minimal_norm", "transfer")
    }
    assert all(rows and all(row["complete"] for row in rows) for rows in tables.values())
    values = tables["published"]
    assert {row["source"] for row in values} == {"Table 4.2", "Table 4.3"}
    both = [row for row in values if row["dataset"] == "mnist" and row["attack"] in {"fgsm", "pgd"}]
    assert all(row["as_published_n"] == 20 and row["corrected_n"] == 20 for row in both)
    pgd = next(r for r in values if r["published"] == 0.8384)
    assert (pgd["dataset"], pgd["eps"], pgd["as_published_n"]) == ("fashion_mnist", 0.05, 20)
    assert "PGD accuracy above FGSM accuracy" in pgd["note"]
    asked = "select probe, count(distinct cell_id) as cells, count(*) as n from measures group by all order by all"
    measured = answered(call("sql", store, asked, "--json"))
    assert [(row["probe"], row["cells"]) for row in measured] == [
        *(("perturbation_growth", 2), ("sensitivity_map", 4), ("zero_gradient_distance", 1))
    ]
