"""The specs of the sigmoid's temperature and of winner-takes-all: what they ask for, and a part of each, really run."""

import math
from collections import Counter
from pathlib import Path
from statistics import NormalDist

import pytest
from expansions import cases, cells, published_cases
from grids import answered, call
from real_images import real_images

from grid.spec.read import load_spec

ROOT = Path(__file__).parent.parent
SIGMOID, LWTA = (ROOT / "specs" / f"{name}.yaml" for name in ("sigmoid_temperature", "lwta"))
GREY = [2.0**power for power in range(-6, 5)]
COLOUR = [2.0**power for power in range(-3, 4)]
BEST = {"mnist": 0.98, "fashion_mnist": 0.9, "svhn": 0.92, "cifar10": 0.65}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return real_images(tmp_path_factory.mktemp("data"), "MNIST", "cifar10-jpeg")


@pytest.fixture(scope="module")
def sigmoid():
    return load_spec(SIGMOID)


@pytest.fixture(scope="module")
def lwta():
    return load_spec(LWTA)


def ask(store, question):
    result = call("sql", store, question, "--json")
    assert result.exit_code == 0, result.stderr
    return answered(result)


def smoke(spec, store, data, *overrides):
    """Run a part of the smoke profile on real images, and have every case of it complete."""
    overrides = ("cells.*.dataset.cifar10={jpeg: false}", *overrides)
    words = [word for override in overrides for word in ("--set", override)]
    result = call(
        "launch", spec, "--profile", "smoke", "--store", store, "--address", "inline", "--data-root", data, *words
    )
    assert result.exit_code == 0, result.stderr
    assert ask(store, "select count(*) as n from coverage where not complete or failures > 0") == [{"n": 0}]


def names_of(spec):
    """Every component that a spec asks for, those that a combination is made of one by one."""
    found = set()
    for wanted in cases(spec):
        case = wanted.case
        cell = case.cell
        parts = [case.under.component, *(cell.defense.parts or [cell.defense])]
        parts += [cell.activation, cell.architecture, cell.dataset]
        found |= {(part.kind, part.name) for part in parts}
    return found


def test_the_sigmoid_spec_has_every_temperature_of_each_dataset(sigmoid):
    found = {}
    for cell in cells(sigmoid):
        found.setdefault(cell.dataset.name, []).append(cell.activation.parameters["temperature"])
    assert found == {"mnist": GREY, "fashion_mnist": GREY, "svhn": COLOUR, "cifar10": COLOUR}


def test_the_sigmoid_spec_asks_of_each_network_what_the_study_asks(sigmoid):
    asked = Counter(wanted.case.cell.dataset.name for wanted in cases(sigmoid))
    # Attacks and probes of the study, then those that check it; the network of T = 4 is a source for itself.
    assert asked == {
        "mnist": 11 * (1 + 3 + 5 + 14) - 1,
        "fashion_mnist": 11 * (5 + 3 + 9 + 14) - 1,
        **dict.fromkeys(("svhn", "cifar10"), 7 * (1 + 2 + 5 + 12) - 1),
    }
    pixels = Counter(
        (w.case.cell.dataset.name, w.case.attack.component.parameters["pixels"])
        for w in cases(sigmoid)
        if w.case.name == "few_pixel" and w.variant == "published"
    )
    assert pixels == {
        **{(dataset, n): 11 for dataset in ("mnist", "fashion_mnist") for n in (1, 2, 3)},
        **{(dataset, n): 7 for dataset in ("svhn", "cifar10") for n in (1, 2)},
    }
    each = {w.case.name for w in cases(sigmoid) if w.case.is_traced}
    assert each == {"activation_regimes", "fgsm_robustness"}


def test_transfer_comes_from_a_network_whose_gradients_do_not_vanish(sigmoid):
    transferred = [w.case for w in cases(sigmoid) if w.case.under.kind == "attack" and w.case.source]
    assert len(transferred) == 2 * (10 + 10 + 6 + 6)
    assert {case.source.activation.parameters["temperature"] for case in transferred} == {4.0}


def test_each_published_accuracy_of_the_sigmoid_study_is_about_one_network(sigmoid):
    found = list(published_cases(sigmoid))
    assert len(found) == len(sigmoid.published) == 36
    for value, wanted in found:
        cell, attack = wanted.case.cell, wanted.case.attack
        assert (value.metric, wanted.variant) == ("clean_accuracy", "published")
        assert (attack.name, attack.budget.eps) == ("fgsm", 0.1)
        assert value.value == BEST[cell.dataset.name]
        above, _, below = value.note.partition("T = ")[2].partition(";")[0].partition("/")
        assert cell.activation.parameters["temperature"] == int(above) / int(below or 1)


def test_the_profile_for_mnist_trains_every_grey_network_in_full():
    spec = load_spec(SIGMOID, profile="mnist")
    found = list(cells(spec))
    assert len(found) == 22
    assert {cell.training.parameters["epochs"] for cell in found} == {100}
    assert all(cell.training.parameters["samples"] is None for cell in found)
    fgsm = [wanted for wanted in cases(spec) if wanted.case.name == "fgsm"]
    assert {wanted.samples for wanted in fgsm} == {10_000}


@pytest.mark.parametrize("path", [SIGMOID, LWTA], ids=lambda path: path.stem)
def test_the_smoke_profile_touches_every_component_but_svhn(path):
    assert names_of(load_spec(path, profile="smoke")) == names_of(load_spec(path)) - {("dataset", "svhn")}


def test_the_lwta_spec_has_the_eight_rows_of_the_table_with_four_values_each(lwta):
    rows = Counter(value.source for value in lwta.published)
    assert len(rows) == 8
    assert set(rows.values()) == {4}
    by_row = {}
    for value, wanted in published_cases(lwta):
        by_row.setdefault(value.source, set()).add(wanted.case.cell.id)
    # Smoothing has two readings; every other row is one network.
    assert sorted(len(found) for found in by_row.values()) == [1] * 7 + [2]
    assert len(set().union(*by_row.values())) == 9


def test_what_is_published_of_lwta_is_about_the_published_procedure(lwta):
    found = list(published_cases(lwta))
    published = [wanted for _, wanted in found if wanted.variant == "published"]
    assert Counter(wanted.case.name for wanted in published) == {"fgsm": 18, "pgd": 9, "cw": 9}
    assert len(found) == 2 * 36
    for wanted in published:
        attack = wanted.case.attack
        assert (attack.eot, attack.draws, attack.attacked, wanted.samples) == (1, 1, "all", 1024)
        if attack.name == "pgd":
            parameters = attack.component.parameters
            assert parameters["steps"] * parameters["alpha"] == pytest.approx(attack.budget.eps / 10)
            assert parameters["returns"] == "last"


def test_models_that_draw_are_attacked_through_their_mean_where_it_is_corrected(lwta):
    found = {}
    for wanted in cases(lwta):
        if wanted.variant == "corrected" and wanted.case.under.kind == "attack" and wanted.case.source is None:
            cell = wanted.case.cell
            draws = {part.name for part in (cell.defense, *cell.defense.parts, cell.activation)} & {
                *("parametric_noise", "randomised_smoothing", "lwta")
            }
            found.setdefault(bool(draws), set()).add((wanted.case.attack.eot, wanted.case.attack.draws))
    assert found == {True: {(20, 10), (10, 10)}, False: {(1, 1)}}  # Square by itself averages ten draws


def test_the_mixes_take_half_of_the_batches_clean(lwta):
    mixes = {
        tuple(part.parameters["attacks"]): part.parameters["clean"]
        for cell in cells(lwta)
        for part in (cell.defense, *cell.defense.parts)
        if part.name == "mixed_training"
    }
    assert mixes == {("pgd",): 0.5, ("pgd", "fgsm"): 0.5, ("pgd", "fgsm", "cw", "noise"): 0.5}


@pytest.mark.drill
def test_the_sigmoid_study_is_measured_on_real_images(tmp_path, data):
    store = tmp_path / "store"
    smoke(SIGMOID, store, data, "exclude=[{dataset: [svhn, fashion_mnist]}]")
    sums = "select cell_id, epoch, sample, sum(value) as total from measures where probe = 'activation_regimes'"
    regimes = ask(store, f"{sums} group by all")
    assert len(regimes) == 6 * 20 * 3
    assert {row["epoch"] for row in regimes} == {None, 1, 2}
    assert all(row["total"] == pytest.approx(1, abs=1e-6) for row in regimes)
    linear = ask(
        store,
        "select cell_label, avg(value) as share from measures where measure = 'linear' and dataset = 'mnist' "
        "and epoch is null group by all",
    )
    share = {t: row["share"] for row in linear for t in ("0.125", "4.0") if f"temperature={t}" in row["cell_label"]}
    assert share["0.125"] < 0.9 < share["4.0"]
    # Three probes measure the same network: they agree about each image.
    agreed = ask(
        store,
        """select count(*) as n, bool_and(a.value = b.value and abs(c.value - d.value) < 1e-5) as agree,
            min(g.value) as least, max(z.value) as zero
        from measures as a
        join measures as b using (cell_id, sample) join measures as c using (cell_id, sample)
        join measures as d using (cell_id, sample) join measures as g using (cell_id, sample)
        join measures as z using (cell_id, sample)
        where a.probe = 'fgsm_robustness' and a.measure = 'correct' and a.epoch = 2
            and b.probe = 'confidence' and b.measure = 'correct'
            and c.probe = 'confidence' and c.measure = 'true_class_confidence'
            and d.probe = 'input_gradient' and d.measure = 'true_class_confidence'
            and g.measure = 'mean_abs_gradient' and z.measure = 'zero_share'""",
    )[0]
    assert (agreed["n"], agreed["agree"]) == (6 * 20, True)
    assert agreed["least"] >= 0
    assert agreed["zero"] <= 1
    history = ask(store, "select count(*) as n, count(test_accuracy) as tested from history")
    assert history == [{"n": 12, "tested": 12}]
    found = answered(call("table", store, "published", "--json"))
    assert [(row["as_published_n"], row["complete"]) for row in found] == [(20, True)] * 6


@pytest.mark.drill
def test_the_rows_of_the_lwta_study_are_measured_on_real_images(tmp_path, data):
    store = tmp_path / "store"
    left_out = "{defense.parts: [[label_smoothing, mixed_training]]}"
    smoke(
        LWTA, store, data, f"exclude=[{left_out}, {{variant: corrected, defense: [combined, label_smoothing]}}, "
        "{architecture: wide_resnet, source.activation: relu}]",
        "cells.*.training.samples=100",
    )  # fmt: skip
    confidence = ask(
        store,
        """select defense, count(distinct sample) as n,
            min(value) filter (measure = 'confidence') as least, max(value) filter (measure = 'confidence') as most,
            max(value) filter (measure = 'entropy') as entropy,
            bool_and((measure <> 'predicted') or value in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)) as classes
        from measures where probe = 'confidence' group by all order by all""",
    )
    assert [row["defense"] for row in confidence] == [
        *("combined", "label_smoothing", "natural", "parametric_noise", "pgd_training", "randomised_smoothing")
    ]
    for row in confidence:
        assert (row["n"], row["classes"]) == (20, True)
        assert 0.1 - 1e-6 <= row["least"] <= row["most"] <= 1
        assert row["entropy"] <= math.log(10) + 1e-6
    radii = ask(
        store,
        """select defense, count(*) as n, max(r.value) as most, bool_and((r.value is null) = (a.value = 1)) as agree
        from measures as r join measures as a using (case_id, sample, defense)
        where r.measure = 'radius' and a.measure = 'abstained' group by all""",
    )
    assert [(row["defense"], row["n"], row["agree"]) for row in radii] == [("randomised_smoothing", 10, True)]
    assert (radii[0]["most"] or 0) <= 0.25 * NormalDist().inv_cdf(0.001 ** (1 / 50)) + 1e-6
    found = answered(call("table", store, "published", "--json"))
    assert {row["activation"] for row in found} == {"relu", "lwta"}
    assert len(found) == (5 + 1) * 4
    assert all(row["complete"] for row in found)
    slwta = next(row for row in found if row["activation"] == "lwta" and row["metric"] == "clean_accuracy")
    assert (slwta["published"], slwta["as_published_n"], slwta["corrected_n"]) == (0.679, 20, 20)
