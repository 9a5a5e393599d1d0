"""The tables of fooling and transfer, and the measures beside published ones, worked out by hand."""

import math
from functools import partial

import pyarrow as pa
import pytest
from test_query import sample_row, wanted_row, written

from grid.results.query import query, run_sql
from grid.results.views import PREPARED, Contents, Slice, connect
from tasks.schema import PUBLISHED, SAMPLES, WANTED

row = partial(sample_row, "k1", clean_pred=1, adv_confidence=0.5)


@pytest.fixture
def views(tmp_path):
    made = {"attack_json": '{"name": "u"}', "prepared_id": "p1"}
    wanted = [
        wanted_row("c1", "k1", "universal", attack_label="universal(eps=0.1)", **made),
        wanted_row("c2", "k2", "universal", head="softrmax", source="softmax", source_cell_id="c1", **made,
                   attack_label="universal(eps=0.1, source=softmax)"),
        wanted_row("c1", "k3", "fgsm", attack_json='{"name": "f"}', samples=1),
    ]  # fmt: skip
    distances = {"mse": 0.25, "l2": 2.0, "linf": 0.5, "relative_l2": 0.2, "relative_linf": 0.4, "centred_linf": 0.8}
    k1 = [
        row(0, adv_pred=2, success=True, adv_confidence=0.6, l0=3, l0_values=5, steps=1, **distances),
        row(1, adv_pred=1, success=False, steps=3, **distances | {"linf": 0.1, "relative_linf": 0.2, "mse": 0.01}),
        row(2, adv_pred=3, success=True, adv_confidence=0.8, l0=5, l0_values=9, steps=2, **distances),
        row(3, correct=False, adv_pred=None),
    ]
    k2 = [sample_row("k2", i, adv_pred=2 if i == 3 else 1, clean_pred=1) for i in range(4)]
    published = [
        {"case_id": "k1", "cell_id": "c1", "metric": metric, "value": 1.0, "source": "T1", "note": ""}
        for metric in ("fooling_rate", "delta_linf", "delta_mse", "mean_mse", "centred_rho_linf", "median_l0_values",
                       "steps", "confidence_fooled", "fit_fooling_rate")
    ]  # fmt: skip
    facts = [{"prepared_id": "p1", "cell_id": "c1", "fact": "fooling_rate", "value": 0.75}]
    return connect(
        Contents(
            wanted=[("one", written(tmp_path / "wanted.parquet", wanted, WANTED))],
            published=[("one", written(tmp_path / "published.parquet", published, PUBLISHED))],
            slices=[
                Slice("k1", written(tmp_path / "k1.parquet", k1, SAMPLES), 0, 0, 4),
                Slice("k2", written(tmp_path / "k2.parquet", k2, SAMPLES), 0, 0, 4),
            ],
            prepared=pa.Table.from_pylist(
                [{name: fact.get(name) for name in PREPARED.names} for fact in facts], schema=PREPARED
            ),
        )
    )


def test_fooling_is_over_the_attacked_and_its_confidence_over_the_fooled(views):
    first, second, third = query(views, "fooling", "one").to_pylist()
    assert [line["attack"] for line in (first, second, third)] == [*("fgsm", "universal", "universal(source=softmax)")]
    assert (first["n_attacked"], first["fooling_rate"], first["complete"]) == (0, None, False)
    assert (second["n_attacked"], second["fooling_rate"]) == (3, pytest.approx(2 / 3))
    assert second["fooling_rate_low"] < 2 / 3 < second["fooling_rate_high"]
    assert second["confidence"] == pytest.approx(0.7)
    radius = 1.959964 * math.sqrt(0.02) / math.sqrt(2)
    assert second["confidence_high"] == pytest.approx(0.7 + radius, rel=1e-5)
    assert second["delta"] == pytest.approx((0.5 + 0.1 + 0.5) / 3)
    assert second["delta_median"] == pytest.approx(0.5)
    assert second["rho"] == pytest.approx((0.4 + 0.2 + 0.4) / 3)
    assert (second["l2"], second["pixels"], second["values"], second["steps"]) == (2.0, 4.0, 7.0, 2.0)
    assert second["fit_fooling_rate"] == third["fit_fooling_rate"] == 0.75
    assert (third["n_attacked"], third["fooling_rate"]) == (4, 0.25)


def test_transfer_has_a_row_per_source_and_cell_of_the_attacks_that_are_transferred(views):
    lines = query(views, "transfer", "one").to_pylist()
    assert [(line["source_head"], line["head"], line["attack"], line["fooling_rate"]) for line in lines] == [
        ("softmax", "softmax", "universal", pytest.approx(2 / 3)),
        ("softmax", "softrmax", "universal", 0.25),
    ]


def test_measures_of_fooling_stand_beside_published_ones(views):
    lines = {line["metric"]: line for line in query(views, "published", "one").to_pylist()}
    found = {metric: (line["measured"], line["measured_n"]) for metric, line in lines.items()}
    assert found == {
        "fooling_rate": (pytest.approx(2 / 3), 3),
        "delta_linf": (pytest.approx(1.1 / 3), 3),
        "delta_mse": (pytest.approx(0.51 / 3), 3),
        "mean_mse": (pytest.approx(0.25), 2),
        "centred_rho_linf": (pytest.approx(0.8), 3),
        "median_l0_values": (7.0, 2),
        "steps": (2.0, 3),
        "confidence_fooled": (pytest.approx(0.7), 2),
        "fit_fooling_rate": (0.75, 1),
    }


@pytest.mark.parametrize("label", ["a(source=s)", "a(source=s, b=1)", "a(c=2, source=s, b=1)", "a(c=2, source=s)"])
def test_a_label_without_its_source_is_that_of_the_attack_on_itself(views, label):
    found = run_sql(views, f"select without_source('{label}', 's') as a").to_pylist()
    assert found == [{"a": label.replace("source=s, ", "").replace(", source=s", "").replace("(source=s)", "")}]


def test_class_accuracy_is_the_mean_over_classes_whatever_their_sizes(tmp_path):
    rows = [
        *(sample_row("k1", i, label=0, clean_pred=0, adv_pred=0, target=1) for i in range(4)),
        *(sample_row("k1", i, label=1, clean_pred=1, adv_pred=p, target=t) for i, p, t in ((4, 1, 0), (5, 0, 0))),
        sample_row("k1", 6, label=1, clean_pred=1, adv_pred=None, attacked=False, target=1),
        sample_row("k1", 7, correct=False, label=1, clean_pred=0, adv_pred=1, attacked=True, target=0),
    ]
    value = {"case_id": "k1", "cell_id": "c1", "metric": "class_accuracy", "value": 0.5, "source": "T", "note": ""}
    views = connect(
        Contents(
            wanted=[("one", written(tmp_path / "w.parquet", [wanted_row("c1", "k1", samples=8)], WANTED))],
            published=[("one", written(tmp_path / "p.parquet", [value], PUBLISHED))],
            slices=[Slice("k1", written(tmp_path / "k.parquet", rows, SAMPLES), 0, 0, 8)],
        )
    )
    (line,) = query(views, "published", "one").to_pylist()
    assert (line["measured"], line["measured_n"]) == (pytest.approx((1 + 2 / 3) / 2), 7)


def test_prepared_says_each_fact_for_each_case_that_uses_it(views):
    found = run_sql(views, "select case_id, fact, value, source from prepared order by case_id").to_pylist()
    assert found == [
        {"case_id": "k1", "fact": "fooling_rate", "value": 0.75, "source": None},
        {"case_id": "k2", "fact": "fooling_rate", "value": 0.75, "source": "softmax"},
    ]
