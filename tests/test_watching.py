"""What callbacks watch: all that a training minimises; and that no other number and no other id depends on it."""

import itertools
from dataclasses import replace
from typing import get_args

import pytest
import torch
from grids import write_spec
from torch import nn
from trainings import CPU, NATURAL, cell, load, same, weights

from grid.plan.expand import expand
from grid.spec.read import load_spec
from tasks import registry
from tasks.config import Component
from tasks.model import build_model, make
from tasks.needs import base_of, settled
from tasks.training.batches import Data, Epochs
from tasks.training.evaluation import evaluate, mean_objective
from tasks.training.objective import Defense, adds_to_loss, mean_loss, objective
from tasks.trainings.standard import decides_by_watching, standard

SHARE = 0.2
SMALL = Component("architecture", "mlp", 1, {"hidden": [32]})


@pytest.fixture(scope="module")
def digits():
    return load("digits", 300, 100)


def built(digits, activation="relu", **parameters):
    """A model of that activation in its one hidden layer."""
    chosen = Component("activation", activation, 1, {"layers": None, **parameters})
    return build_model(replace(cell(), architecture=SMALL, activation=chosen), digits[0])


def held_out(digits, model, **options):
    """The images that a training holds out, and its history."""
    images = Epochs(digits[0], CPU, 0, SHARE, None).held_out
    return images, standard(model, *digits, options.pop("defense", Defense()), 0, validation=SHARE, **options)


def idle(model, images, labels):
    """No loss of the head's: only penalties move anything."""
    loss, scores = mean_loss(model, images, labels)
    return 0 * loss, scores


@pytest.mark.parametrize(("watch", "epochs"), [("head", 3), ("objective", 12)])
def test_a_training_whose_penalty_still_falls_goes_on(digits, watch, epochs):
    model = built(digits, "drelu", balancer=1.0, cap=100.0, per="neuron")
    history = standard(
        model, *digits, Defense(loss=idle), 0, epochs=12, validation=SHARE, early_stopping=2, watch=watch, lr=0.01
    )
    assert len(history) == epochs
    fallen = 100 - model.activations[0].caps
    assert torch.allclose(fallen, torch.full_like(fallen, 0.01 * 2 * epochs), rtol=0.01)  # 2 batches an epoch


def test_a_plateau_that_watches_the_penalty_leaves_the_rate(digits):
    options = {"epochs": 8, "schedule": "plateau", "patience": 2, "validation": SHARE, "lr": 0.01}
    for watch, last in (("head", 0.00125), ("objective", 0.01)):
        model = built(digits, "drelu", balancer=1.0, cap=100.0, per="neuron")
        history = standard(model, *digits, Defense(loss=idle), 0, watch=watch, **options)
        assert history["lr"].to_pylist()[-1] == pytest.approx(last)


def test_the_objective_is_the_loss_of_the_head_and_the_penalties_of_layers(digits):
    model = built(digits, "drelu", balancer=0.5, cap=3.0, per="neuron")
    data, history = held_out(digits, model, epochs=2, early_stopping=5)
    row = history.to_pylist()[-1]
    expected = evaluate(model, data)[1] + 0.5 * float(model.activations[0].caps.detach().square().sum())
    assert row["validation_loss"] == pytest.approx(evaluate(model, data)[1])
    assert row["validation_objective"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("fgsm_training", {"eps": 0.1}),
        ("label_smoothing", {"smoothing": 0.3}),
        ("trades", {"eps": 0.1, "beta": 6.0, "steps": 3}),
        ("orthogonality", {"beta": 0.1}),
        ("gradient_regularisation", {"strength": 3.0}),
    ],
)
def test_the_objective_has_what_the_defense_crafts_loses_and_adds(digits, name, parameters):
    model, defense = built(digits), make(Component("defense", name, 1, parameters))
    data, history = held_out(digits, model, defense=defense, epochs=1, early_stopping=5)
    row = history.to_pylist()[-1]
    model.eval()
    torch.manual_seed(0)
    expected = objective(defense, model)(model, *data.batch(slice(None)))[0].item()
    assert row["validation_objective"] == pytest.approx(expected, rel=1e-3 if name == "trades" else 1e-5)
    assert row["validation_objective"] > 1.001 * row["validation_loss"]


def test_measuring_the_objective_changes_neither_gradients_nor_generator(digits):
    model, defense = built(digits, "lwta", units=2, kl=0.1, winner="sampled", temperature=0.67), make(NATURAL)
    data = Data(digits[1].images, digits[1].labels)
    before, minimised = torch.get_rng_state(), objective(defense, model)
    found = [mean_objective(model, data, minimised, 40) for _ in range(2)]
    assert found[0] == found[1]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_layer_counts_its_divergence_while_the_objective_is_measured_and_never_while_it_is_asked(digits):
    images = digits[1].images[:50]
    data = Data(images, digits[1].labels[:50])
    defense = make(Component("defense", "trades", 1, {"eps": 0.1, "beta": 1.0, "steps": 3}))
    objectives = []
    for kl in (0.0, 2.0):
        model = built(digits, "lwta", units=2, kl=kl, winner="sampled", temperature=0.67)
        objectives.append(mean_objective(model, data, objective(Defense(), model), 50))
        with torch.no_grad():
            model.eval()(images)
        assert model.activations[0].penalty().item() == 0
        objectives.append(mean_objective(model, data, objective(defense, model), 50))
    net = nn.Sequential(*list(model.body)[:-1])((images - model.mean) / model.std).detach()
    logs = torch.log_softmax(net.view(50, -1, 2), 2)
    divergence = float((logs.exp() * (logs + torch.log(torch.tensor(2.0)))).sum() / 50)
    assert objectives[2] - objectives[0] == pytest.approx(2 * divergence, rel=1e-4)
    # The climb of TRADES asks the model five times more; what is counted is the clean and the crafted pass alone.
    assert objectives[3] - objectives[1] == pytest.approx(2 * divergence, rel=0.1)


def test_where_nothing_is_added_what_is_watched_is_of_no_matter(digits):
    outcomes, rows = [], []
    for watch in ("head", "objective"):
        model = built(digits, "drelu", balancer=0.0, cap=0.5, per="neuron")
        _, history = held_out(digits, model, epochs=4, lr=0.01, schedule="plateau", patience=1, watch=watch)
        outcomes.append(weights(model))
        rows.append(history.drop_columns("seconds").to_pylist())
        assert history["validation_objective"].null_count == 4
    assert same(*outcomes)
    assert rows[0] == rows[1]


def test_nothing_is_measured_that_decides_nothing(digits):
    model = built(digits, "drelu", balancer=1.0, cap=0.5, per="neuron")
    _, history = held_out(digits, model, epochs=1)
    assert history["validation_objective"].to_pylist() == [None]


def test_the_weights_of_the_lowest_objective_are_kept(digits):
    # The caps, and with them the penalty, fall in every epoch, while accuracy is what it was.
    model = built(digits, "drelu", balancer=1.0, cap=100.0, per="neuron")
    _, history = held_out(digits, model, defense=Defense(loss=idle), epochs=4, lr=0.01, checkpoint="best_watched")
    assert float(model.activations[0].caps.detach().max()) == pytest.approx(100 - 4 * 2 * 0.01, rel=1e-4)
    other = built(digits, "drelu", balancer=1.0, cap=100.0, per="neuron")
    held_out(digits, other, defense=Defense(loss=idle), epochs=4, lr=0.01, checkpoint="best_validation")
    assert float(other.activations[0].caps.detach().max()) == pytest.approx(100 - 2 * 0.01, rel=1e-4)
    assert history["validation_objective"].null_count == 0


WATCHING = {"epochs": 5, "early_stopping": 2, "validation": 0.2}


def ids(folder, *, name="spec.yaml", **block):
    """The ids of the cells of a spec of one block, asked for or not."""
    cells = {"dataset": "digits", "architecture": "mlp", "training": WATCHING, **block}
    spec = load_spec(write_spec(folder, cells=[cells], attacks=[]))
    return [each.cell.id for each in expand(spec)]


def test_an_id_tells_what_is_watched_exactly_where_that_decides_something(tmp_path):
    def of(watch, **block):
        training = {**block.pop("training", WATCHING), **({"watch": watch} if watch else {})}
        (found,) = ids(tmp_path, training=training, **block)
        return found

    drelu = {"activation": {"drelu": {"balancer": 1.0}}}
    for block in (
        drelu,
        {"defense": {"trades": {"eps": 0.1}}},
        {"defense": {"combined": ["label_smoothing", "natural"]}},
    ):
        assert of(None, **block) == of("objective", **block) != of("head", **block)
    never = {"training": {"epochs": 5, "validation": 0.2}}
    for block in ({}, drelu | never, {"activation": {"drelu": {"balancer": 0}}}, {"defense": "randomised_smoothing"}):
        assert of(None, **block) == of("objective", **block) == of("head", **block)


def test_ids_of_cells_whose_training_is_what_it_was_are_what_they_were(tmp_path):
    before = {"relu": "33d534cf5e8cc048", "head": "0281521370e7e9cb"}
    (relu,) = ids(tmp_path)
    (head,) = ids(tmp_path, activation={"drelu": {"balancer": 1.0}}, training={**WATCHING, "watch": "head"})
    assert {"relu": relu, "head": head} == before


def test_ids_go_by_what_is_watched_exactly_where_the_training_does():
    described = registry.describe("training", "standard")
    schedules, checkpoints = (get_args(described.parameters[name].type) for name in ("schedule", "checkpoint"))
    assert len(schedules) == len(checkpoints) == 4
    for early_stopping, schedule, checkpoint in itertools.product((None, 3), schedules, checkpoints):
        said = {"early_stopping": early_stopping, "schedule": schedule, "checkpoint": checkpoint}
        assert described.facts.watches(said) == decides_by_watching(**said)


def test_two_ways_to_watch_are_one_cell_where_they_are_the_same(tmp_path):
    training = {**WATCHING, "watch": {"each": ["objective", "head"]}}
    found = ids(tmp_path, activation=["relu", {"drelu": {"balancer": 1.0}}], training=training)
    assert len(found) == len(set(found)) == 3


def test_a_cell_that_others_need_is_settled_as_if_it_were_asked_for(tmp_path):
    retrained = {**WATCHING, "natural_epochs": 3}
    *_, base = ids(tmp_path, defense={"trades": {"eps": 0.1}}, training=retrained)
    (plain,) = ids(tmp_path, training={**WATCHING, "epochs": 3})
    assert base == plain
    cells = [{"dataset": "digits", "architecture": "mlp", "training": WATCHING}]
    source = {"fgsm": {"eps": 0.1, "source": {"activation": {"drelu": {"balancer": 1.0}}}}}
    _, seen = expand(load_spec(write_spec(tmp_path, cells=cells, attacks=[source])))
    assert [seen.cell.id] == ids(tmp_path, activation={"drelu": {"balancer": 1.0}})
    assert settled(seen.cell).id == seen.cell.id
    assert base_of(seen.cell) is None


def built_in(kind):
    return [name for name in registry.names(kind) if registry.describe(kind, name).origin.startswith("tasks.")]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        *((name, {}) for name in built_in("activation")),
        ("drelu", {"balancer": 0.0}),
        ("lwta", {"kl": 0.0}),
        ("lwta", {"winner": "largest"}),
    ],
)
def test_activations_declare_whether_they_add_to_the_loss(digits, name, parameters):
    described = registry.describe("activation", name)
    usual = {key: each.default for key, each in described.parameters.items()}
    model = built(digits, name, **parameters)
    assert adds_to_loss(Defense(), model) == described.facts.adds({**usual, **parameters})


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        *((name, {}) for name in built_in("defense") if name not in {"combined", "distillation"}),
        ("trades", {"beta": 0.0}),
        ("fgsm_training", {"clean": 1.0}),
        ("pgd_training", {"clean": 1.0}),
        ("quantisation", {"beta": 0.0}),
    ],
)
def test_defenses_declare_whether_they_add_to_the_loss(digits, name, parameters):
    described = registry.describe("defense", name)
    usual = {key: 0.1 if key == "eps" else each.default for key, each in described.parameters.items()}
    defense = make(Component("defense", name, 1, {**usual, **parameters}))
    assert adds_to_loss(defense, built(digits)) == described.facts.adds({**usual, **parameters})
