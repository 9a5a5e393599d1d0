"""The judge: what it measures, what it refuses, and that batches and shards change no row."""

import json

import attack_toys
import pyarrow as pa
import pytest
import torch
from attack_toys import Toy, attacked, case, conv_net, linear, pixels
from torch import nn

from tasks.cases import Budget
from tasks.given import in_batches
from tasks.judge import MEASURED, attack_samples
from tasks.schema import SAMPLES
from tasks.streams import Streams
from tasks.types import AttackError, ModelError

EPS = Budget("linf", 0.1)
COUNT = 10


def toy(name):
    return f"attack_toys:{name}"


def run(name, budget=EPS, count=COUNT, model=None, **options):
    return attacked(linear() if model is None else model, toy(name), budget, pixels(count), **options)


def test_the_columns_are_the_schemas_measured_ones():
    model, images = linear(), pixels(3)
    table = attack_samples(
        model, case(toy("idle"), EPS), images, model(images).argmax(1), torch.arange(3), batch_size=2
    )
    assert table.schema.equals(MEASURED)
    assert table.column_names == SAMPLES.names[: SAMPLES.names.index("host")]


def test_rows_keep_the_order_of_the_samples():
    samples = torch.tensor([7, 3, 900, 4])
    assert [row["sample"] for row in run("idle", count=4, samples=samples)] == [7, 3, 900, 4]


def test_misclassified_samples_are_rows_that_were_not_attacked():
    model, images = linear(), pixels(COUNT)
    right = model(images).argmax(1)
    labels = torch.where(torch.arange(COUNT) % 2 == 0, right, (right + 1) % 3)
    rows = attacked(model, toy("noise"), EPS, images, labels)
    assert [row["attacked"] for row in rows] == [True, False] * 5
    for row in rows[1::2]:
        assert not row["success"]
        assert not row["clean_correct"]
        assert row["clean_margin"] < 0
        absent = ("adv_pred", "adv_confidence", "adv_margin", "l0", "l1", "l2", "linf", "mse", "relative_l2")
        assert all(row[name] is None for name in (*absent, "steps", "forwards", "backwards", "seconds", "target"))


def test_a_shard_that_is_misclassified_throughout_has_rows_too():
    model, images = linear(), pixels(4)
    rows = attacked(model, toy("noise"), EPS, images, (model(images).argmax(1) + 1) % 3)
    assert [row["attacked"] for row in rows] == [False] * 4
    assert all(row["l2"] is None for row in rows)


def test_what_is_recorded_is_measured_on_what_came_back():
    model, images = conv_net(), pixels(COUNT)
    one = case(toy("noise"), EPS)
    row = attacked(model, toy("noise"), EPS, images)[3]
    drawn = Streams(one.id, torch.tensor([103])).uniform("noise", 0, (1, 6, 6), torch.float64)
    back = (images[3:4] + 0.1 * (2 * drawn - 1)).clamp(0, 1)
    scores = model(back).detach()
    assert row["case_id"] == one.id
    assert row["adv_pred"] == int(scores.argmax())
    assert row["adv_confidence"] == pytest.approx(float(scores.softmax(1).max()), rel=1e-6)
    assert row["l2"] == pytest.approx(float((back - images[3]).norm()), rel=1e-6)
    assert row["success"] == (row["adv_pred"] != row["label"])


def test_bytes_are_pixels_from_0_to_255():
    model = linear()
    images = torch.randint(0, 256, (5, 1, 6, 6), dtype=torch.uint8, generator=attack_toys.seeded(0))
    labels = model(images.double() / 255).argmax(1)
    from_bytes, from_floats = (attacked(model, toy("noise"), EPS, given, labels) for given in (images, images / 255.0))
    for row, other in zip(from_bytes, from_floats, strict=True):
        assert row["clean_margin"] == pytest.approx(other["clean_margin"], rel=1e-5)
        assert row["clean_correct"]


def test_distances_in_standardised_units_are_pixels_over_std():
    model = linear(std=0.25, mean=0.5)
    rows = run("noise", Budget("linf", 0.2, "standardised"), model=model)
    assert all(0.15 < row["linf"] <= 0.2 + 1e-6 for row in rows)
    assert all(0.03 < row["linf"] * 0.25 < 0.05 + 1e-6 for row in rows)


def test_the_length_of_an_all_zero_image_divides_nothing():
    images = torch.zeros(3, 1, 6, 6)
    rows = attacked(linear(dtype=torch.float32), toy("noise"), EPS, images)
    assert all(row["relative_l2"] is None and row["l2"] > 0 for row in rows)


def test_an_image_of_nan_says_that_nothing_came_back():
    rows = run("absent")
    assert [row["l2"] is None for row in rows] == [False, True] + [False] * 8
    assert (rows[1]["attacked"], rows[1]["success"], rows[1]["adv_pred"]) == (True, False, None)
    assert (rows[1]["steps"], rows[1]["forwards"]) == (7, 1)


def test_counts_are_the_harness_own():
    rows = run("counted", count=3)
    assert [row["forwards"] for row in rows] == [4, 2, 2]
    assert [row["backwards"] for row in rows] == [1, 1, 0]


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("misshapen", {}, r"misshapen returned images \(10, 1, 5, 6\)"),
        ("mistyped", {}, r"mistyped returned images .*float16"),
        ("stepless", {}, "stepless returned steps NoneType"),
        ("partly", {"value": "nan"}, "partly .* not finite for sample 101"),
        ("partly", {"value": "inf"}, "partly .* not finite for sample 101"),
        ("over", {"by": 0.5, "pixel": 1.0}, "over on sample 102: out of the box by 0.5"),
        ("over", {"by": 1e-4, "pixel": 1.0}, "over on sample 102: out of the box by 0.0001"),
        ("miscounted", {}, "1 images for a model of 10 rows"),
        ("vandal", {"what": "images"}, "vandal changed the images"),
        ("vandal", {"what": "labels"}, "vandal changed the images or labels"),
        ("vandal", {"what": "weights"}, r"vandal changed the model: body\.1\.weight"),
        ("vandal", {"what": "flags"}, r"vandal changed the model: requires_grad of body\.1\.weight"),
        ("vandal", {"what": "mode"}, "vandal changed the model: mode of Toy"),
        ("vandal", {"what": "gradient"}, r"vandal changed the model: gradient of body\.1\.weight"),
    ],
)
def test_an_attack_that_breaks_its_contract_is_refused_by_name(name, parameters, message):
    with pytest.raises(AttackError, match=message):
        run(name, **parameters)


def test_a_vandal_leaves_the_model_as_it_was():
    model = linear()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for what in ("weights", "flags", "mode", "gradient"):
        with pytest.raises(AttackError):
            run("vandal", model=model, what=what)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert model.training


def test_an_image_over_the_budget_is_refused_with_its_distance():
    with pytest.raises(AttackError, match=r"over on sample 102: over its budget eps = 0.1: linf is 0\.\d+"):
        run("over", by=0.0, pixel=round(1 - float(pixels(3)[2, 0, 3, 3])))


def test_a_published_procedure_may_leave_its_ball_and_is_measured():
    far = round(1 - float(pixels(3)[2, 0, 3, 3]))
    row = run("over", Budget("linf", 0.1, beyond="allowed"), by=0.0, pixel=float(far))[2]
    assert row["linf"] == pytest.approx(abs(far - float(pixels(3)[2, 0, 3, 3])), rel=1e-6)


def test_rounding_out_of_the_box_is_clipped_before_judging():
    images = pixels(3)
    images[2, 0, 3, 3] = 1.0
    assert attacked(linear(), toy("over"), EPS, images, by=1e-6, pixel=1.0)[2]["linf"] == 0


def test_without_a_box_pixels_may_leave_it():
    row = run("over", Budget("linf", 5.0, box=False), by=0.5, pixel=1.0)[2]
    assert row["linf"] == pytest.approx(1.5 - float(pixels(3)[2, 0, 3, 3]), rel=1e-6)


class Nan(Toy):
    def forward(self, images):
        scores = super().forward(images)
        return torch.where(images[:, 0, 0, :1] > 0.95, torch.nan, scores)


def test_a_model_that_says_nan_is_refused_by_sample():
    images = pixels(5)
    images[:, 0, 0, 0] = torch.tensor([0.1, 0.2, 0.99, 0.3, 0.4])
    with pytest.raises(ModelError, match="1 samples, first: 102"):
        attacked(Nan(linear().body).double(), toy("idle"), EPS, images)


def test_a_model_that_says_nan_only_to_the_returned_image_is_refused():
    images = pixels(5) * 0.9
    with pytest.raises(ModelError, match="first: 102"):
        attacked(Corner(linear().body).double(), toy("over"), Budget("linf", 2.0), images, by=1.0)


class Corner(Toy):
    def forward(self, images):
        scores = super().forward(images)
        return torch.where(images[:, 0, 3, 3:4] > 0.95, torch.nan, scores)


def test_an_attack_needs_no_samples_and_can_have_one():
    assert run("noise", count=0) == []
    assert len(run("noise", count=1)) == 1


def without_time(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_batch_size_changes_no_row(size):
    rows = run("noise", count=30, model=conv_net(), batch_size=size)
    assert without_time(rows) == without_time(run("noise", count=30, model=conv_net()))


def test_running_out_of_memory_halves_the_batch_and_changes_no_row():
    attack_toys.CALLS.clear()
    rows = run("hungry", count=10, most=3)
    assert attack_toys.CALLS == [10, 5, 3, 3, 3, 1]
    drawn = Streams(case(toy("hungry"), EPS, most=3).id, torch.arange(10) + 100)
    moved = pixels(10) + 0.1 * (2 * drawn.uniform("noise", 0, (1, 6, 6), torch.float64) - 1)
    due = (moved.clamp(0, 1) - pixels(10)).flatten(1).norm(dim=1).float()
    assert [row["l2"] for row in rows] == due.tolist()


def test_one_sample_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        run("hungry", most=0)


def test_batches_join_in_order():
    joined = in_batches(lambda part: {"a": torch.arange(part.start, part.stop)}, 10, 3)
    assert joined["a"].tolist() == list(range(10))
    assert in_batches(lambda part: {"a": torch.arange(part.start)}, 0, 3) == {}


def test_the_model_comes_back_in_its_own_mode():
    model = conv_net()
    model.train()
    run("noise", model=model)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_dropout_is_off_while_the_judge_looks():
    model = linear()
    model.body = nn.Sequential(nn.Dropout(0.9), *model.body)
    model.eval()
    images = pixels(20)
    labels = model(images).argmax(1)
    rows = attacked(model.train(), toy("idle"), EPS, images, labels)
    assert all(row["clean_correct"] and row["clean_pred"] == row["adv_pred"] for row in rows)


def test_rows_are_plain_values_that_json_can_hold():
    assert json.dumps(run("noise", count=2))
    assert isinstance(pa.Table.from_pylist(run("noise", count=2), schema=MEASURED), pa.Table)
