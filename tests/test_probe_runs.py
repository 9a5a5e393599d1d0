"""Probes in a grid: planned, run, cut into shards, resumed, made after each epoch, and read in SQL."""

import pyarrow.parquet as pq
import pytest
import torch
from grids import answered, call, launch, write_spec

from tasks.cases import Case, Probe
from tasks.config import Cell, Component
from tasks.model import build_model, load_split
from tasks.probe import probe_samples
from tasks.types import DataRoot, Measure, ModelError

EACH = [{"confidence": {"epochs": "each", "samples": 6}}]


def sql(store, text):
    found = call("sql", store, text, "--json")
    assert found.exit_code == 0, found.stderr
    return answered(found)


def probing(folder, **changes):
    return write_spec(folder, **{"attacks": [], "probes": ["confidence"], "samples": {"count": 25}, **changes})


def test_a_probe_has_as_many_rows_for_each_sample_in_the_order_of_the_grid(tmp_path):
    spec, store = probing(tmp_path), tmp_path / "store"
    assert launch(spec, store).exit_code == 0
    found = sql(store, "select measure, count(*) n, count(distinct sample) s from measures group by 1 order by 1")
    assert [(row["measure"], row["n"], row["s"]) for row in found] == [
        (name, 50, 25) for name in ("confidence", "correct", "entropy", "margin", "predicted", "true_class_confidence")
    ]
    files = sorted((store / "shards").rglob("*.parquet"))
    assert [path.stem for path in files] == ["0-10", "10-20", "20-25"] * 2
    first = pq.read_table(files[0])["sample"].to_pylist()
    assert len(set(first)) == 10
    assert first == [sample for sample in dict.fromkeys(first) for _ in range(6)]


def test_a_probe_agrees_with_what_an_attack_found_of_the_same_samples(tmp_path):
    spec, store = probing(tmp_path, attacks=[{"fgsm": {"eps": 0.1}}]), tmp_path / "store"
    assert launch(spec, store).exit_code == 0
    found = sql(
        store,
        "select count(*) n, max(abs(m.value - s.clean_confidence)) gap from measures m join samples s "
        "on m.cell_id = s.cell_id and m.sample = s.sample where m.measure = 'confidence'",
    )
    assert found[0]["n"] == 50
    assert found[0]["gap"] < 1e-6


def test_a_grid_of_probes_alone_is_resumed_and_extended(tmp_path):
    spec, store = probing(tmp_path), tmp_path / "store"
    launch(spec, store)
    next((store / "shards").rglob("10-20.parquet")).unlink()
    assert "done 0 cells, 1 shards, 10 samples" in launch(spec, store).stderr
    assert "nothing was missing" in launch(spec, store).stderr
    probing(tmp_path, samples={"count": 40})
    assert "30 samples" in launch(spec, store).stderr
    assert sql(store, "select count(distinct (cell_id, sample)) n from measures")[0]["n"] == 80


def test_other_shards_and_batches_give_the_same_rows(tmp_path):
    spec = probing(tmp_path, probes=["input_gradient", "zero_gradient_distance"])
    question = "select * exclude (seconds, host, worker, run_id, cell_label) from measures order by all"
    one, other = tmp_path / "one", tmp_path / "other"
    launch(spec, one, "--fixed-batch", 8)
    launch(spec, other, "--fixed-batch", 8, "--shard-size", 7, "--batch-size", 3)
    assert sql(one, question) == sql(other, question)


def test_a_probe_of_each_epoch_has_rows_for_every_epoch_and_the_cell_is_trained_once(tmp_path):
    spec, store = probing(tmp_path, probes=EACH), tmp_path / "store"
    result = launch(spec, store)
    assert result.exit_code == 0
    assert "done 2 cells, 0 shards, 12 samples" in result.stderr
    found = sql(store, "select epoch, count(distinct sample) n from measures group by 1 order by 1")
    assert found == [{"epoch": 1, "n": 6}, {"epoch": 2, "n": 6}]
    assert len(list((store / "training").iterdir())) == 0
    assert "nothing was missing" in launch(spec, store).stderr


def test_the_last_epoch_of_a_trace_is_the_cell_as_it_is_kept(tmp_path):
    spec, store = probing(tmp_path, probes=[*EACH, {"confidence": {"samples": 6}}]), tmp_path / "store"
    launch(spec, store)
    found = sql(
        store,
        "select count(*) n, max(abs(a.value - b.value)) gap from measures a join measures b using (cell_id, sample, "
        "measure) where a.epoch = 2 and b.epoch is null",
    )
    assert found[0] == {"n": 2 * 6 * 6, "gap": pytest.approx(0, abs=1e-6)}


def test_a_cell_that_is_there_is_trained_once_more_for_a_probe_of_each_epoch(tmp_path):
    spec, store = probing(tmp_path), tmp_path / "store"
    launch(spec, store)
    before = {path: path.read_bytes() for path in (store / "cells").rglob("*") if path.is_file()}
    probing(tmp_path, probes=["confidence", *EACH])
    assert launch(spec, store).exit_code == 0
    assert {path: path.read_bytes() for path in (store / "cells").rglob("*") if path.is_file()} == before
    assert sql(store, "select count(distinct epoch) n from measures where epoch is not null")[0]["n"] == 2


def test_probes_are_excluded_by_their_name_and_shown_by_status(tmp_path):
    spec = probing(
        tmp_path, probes=["confidence", "input_gradient"], exclude=[{"head": "softmax", "probe": "confidence"}]
    )
    launch(spec, tmp_path / "store")
    found = sql(tmp_path / "store", "select distinct head, probe from measures order by all")
    assert [(row["head"], row["probe"]) for row in found] == [
        *(("softmax", "input_gradient"), ("softrmax", "confidence"), ("softrmax", "input_gradient"))
    ]
    shown = answered(call("status", tmp_path / "store", "--json"))
    assert sorted(row["attack_or_probe"] for row in shown) == ["confidence", "input_gradient", "input_gradient"]


def test_what_a_spec_gets_wrong_of_a_probe_is_said_at_once(tmp_path):
    spec = probing(tmp_path, probes=["confidense", {"confidence": {"epochs": "every"}}, {"confidence": {"steps": 1}}])
    found = call("check", spec)
    assert found.exit_code == 2
    for text in ("Did you mean 'confidence'", "probes.1.confidence.epochs", "unknown parameter 'steps'"):
        assert text in found.stderr


def test_a_probe_that_perturbs_images_may_do_so_for_another_cell(tmp_path):
    growth = {"perturbation_growth": {"eps": 0.1, "steps": 5, "alpha": 0.04}}
    transferred = {"perturbation_growth": {**growth["perturbation_growth"], "source": {"head": "softmax"}}}
    spec, store = probing(tmp_path, probes=[growth, transferred]), tmp_path / "store"
    result = launch(spec, store)
    assert result.exit_code == 0
    assert "done 2 cells" in result.stderr
    found = sql(
        store,
        "select head, count(distinct case_id) as cases, count(distinct probe_label) as labels, "
        "count(distinct value) filter (measure = 'l2' and layer = 'input') n from measures group by 1 order by 1",
    )
    assert [(row["head"], row["cases"], row["labels"]) for row in found] == [("softmax", 1, 1), ("softrmax", 2, 2)]
    same = sql(
        store,
        "select count(*) n, count(*) filter (a.value = b.value) as same from measures a join measures b "
        "using (sample, measure, layer) where layer = 'input' and measure = 'linf' and a.head = 'softmax' and "
        "b.probe_label like '%source=softmax%'",
    )
    assert same == [{"n": 25, "same": 25}]


@pytest.mark.parametrize(
    ("probe", "says"),
    [
        ({"confidence": {"source": {"head": "cons"}}}, "it has no source"),
        ({"perturbation_growth": {"epochs": "each", "source": {"head": "cons"}}}, "no epochs of this one's training"),
        ({"perturbation_growth": {"source": {"haed": "cons"}}}, "Did you mean 'head'"),
    ],
)
def test_a_source_that_a_probe_cannot_have_is_refused(tmp_path, probe, says):
    found = call("check", probing(tmp_path, probes=[probe]))
    assert found.exit_code == 2
    assert says in found.stderr


def a_case() -> tuple[Case, torch.nn.Module, object]:
    given = {"dataset": "digits", "architecture": "mlp", "activation": "relu", "head": "softmax", "defense": "natural"}
    parts = {kind: Component(kind, name, 1) for kind, name in given.items()}
    cell = Cell(**parts, training=Component("training", "standard", 2), seed=0)
    split = load_split(cell.dataset, "test", DataRoot("nowhere"))
    return Case(cell, Probe(Component("probe", "confidence", 1))), build_model(cell, split).eval(), split


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (lambda images: torch.zeros(len(images) + 1), "has shape"),
        (lambda images: torch.zeros(len(images), 2, 2), "has shape"),
        (lambda images: torch.zeros(len(images), len(images)), "of one batch, and"),
    ],
)
def test_a_probe_that_breaks_its_contract_is_refused(monkeypatch, values, says):
    case, model, split = a_case()
    broken = lambda model, images, labels, streams: [Measure("it", values(images))]  # noqa: E731
    monkeypatch.setattr("tasks.probe.registry.load", lambda kind, name: broken)
    with pytest.raises(ModelError, match=says):
        probe_samples(model, case, split.images[:5], split.labels[:5], torch.arange(5), batch_size=3)


def test_what_is_not_a_number_is_stored_as_nothing(monkeypatch):
    case, model, split = a_case()
    half = lambda model, images, labels, streams: [Measure("it", torch.tensor([1.5, torch.nan]))]  # noqa: E731
    monkeypatch.setattr("tasks.probe.registry.load", lambda kind, name: half)
    rows = probe_samples(model, case, split.images[:2], split.labels[:2], torch.arange(2), batch_size=2)
    assert rows["value"].to_pylist() == [1.5, None]
