"""When a sample is finished: at one look, when independent looks agree, or never in a transfer; and what comes back."""

import pytest
import torch
from attack_toys import Toy, Wavering, attacked, case, linear, pixels, seeded
from torch import nn

from tasks import noise, registry
from tasks.attacks._ball import Ball, random_point
from tasks.cases import Budget
from tasks.counted import CLOSE_LOOKS, LOOKS, CountedModel
from tasks.judge import attack_samples
from tasks.metrics import frozen
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import AttackError

LINF = Budget("linf", 0.1)
STOPPING = ["pgd", "bim", "apgd", "square"]
FEW = {"pgd": {"steps": 5}, "bim": {"steps": 5}, "apgd": {"steps": 5}, "square": {"queries": 12}}


class Coin(Toy):
    """Two classes; class 1 in the share `share` of the draws, whatever the image."""

    stochastic = True

    def __init__(self, share: float) -> None:
        super().__init__(nn.Flatten())
        self.share = share
        self.anchor = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.double()

    def forward(self, images):
        drawn = noise.uniform(images[:, 0, 0, 0]) < self.share
        return torch.stack([~drawn, drawn], 1).double() + self.anchor * images.flatten(1).sum(1, keepdim=True)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="score")
def undeclared(model, images, labels, budget, streams):
    done = model.finished(images, labels, model.fooled(model(images), labels))
    return images, done.long()


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="score", stops="drawing")
def half_declared(model, images, labels, budget, streams):
    return undeclared(model, images, labels, budget, streams)


@component("attack", version=1, norms=("linf",), budget="eps", knowledge="score")
def believing(model, images, labels, budget, streams):
    return images, model.confirmed(images, labels, model.fooled(model(images), labels)).long()


def counted(model, count, stopping):
    samples = torch.arange(count)
    streams = Streams("one key", samples)
    return CountedModel(model, samples, LINF, num_classes=2, noise=streams, stopping=stopping)


def asked(share, stopping, count=2000):
    images, labels = pixels(count, shape=(1, 1, 1)), torch.zeros(count, dtype=torch.int64)
    model = counted(Coin(share), count, stopping)
    return model.finished(images, labels, torch.ones(count, dtype=torch.bool)), model.forwards


def test_independent_looks_have_to_agree_before_a_sample_leaves_a_model_that_draws():
    believed, passes = asked(1.0, "confirmed")
    assert bool(believed.all())
    assert set(passes.tolist()) == {LOOKS + CLOSE_LOOKS}
    believed, passes = asked(0.5, "confirmed")
    assert not bool(believed.any())
    assert float(passes.double().mean()) < LOOKS + 1


@pytest.mark.parametrize(("stopping", "finished"), [("look", True), ("never", False)])
def test_one_look_settles_all_where_nothing_is_judged_and_nobody_is_finished_in_a_transfer(stopping, finished):
    found, passes = asked(0.5, stopping)
    assert set(found.tolist()) == {finished}
    assert not bool(passes.any())


def test_in_a_transfer_the_source_is_asked_whether_a_point_reaches_the_aim():
    images, labels = pixels(50, shape=(1, 1, 1)), torch.zeros(50, dtype=torch.int64)
    reached = torch.ones(50, dtype=torch.bool)
    assert bool(counted(Coin(1.0), 50, "never").confirmed(images, labels, reached).all())
    assert not bool(counted(Coin(0.5), 50, "never").confirmed(images, labels, reached).any())


@pytest.mark.parametrize("name", STOPPING)
def test_a_transfer_makes_all_steps_and_is_no_weaker_than_the_attack_that_never_stops(name):
    """On a judge that is the source with other weights beside, the images go as far as they can."""
    source, judge, images = linear(2, seed=2), linear(2, seed=3), 0.4 + 0.2 * pixels(30)
    with torch.no_grad():
        judge.body[1].weight.copy_(0.5 * source.body[1].weight + 0.5 * judge.body[1].weight)
        judge.body[1].bias.copy_(-judge.body[1].weight.sum(1) / 2)
    labels = source(images).argmax(1)
    rows, never, itself = (
        attacked(judge, name, LINF, images, labels, attacked="all", **FEW[name], **how)
        for how in ({"source": source}, {"source": source, "stop": "never"}, {})
    )
    assert {row["steps"] for row in rows} == {row["steps"] for row in never} == {max(row["steps"] for row in never)}
    assert min(row["steps"] for row in itself) < rows[0]["steps"]
    num_fooled, num_never = (sum(row["success"] for row in found) for found in (rows, never))
    assert num_fooled >= num_never - 2 > 0


@pytest.mark.parametrize("name", STOPPING)
def test_what_is_looked_at_again_does_not_depend_on_the_batch(name):
    images = pixels(7)
    labels = Wavering(0.0)(images).argmax(1)

    def told(batch_size):
        how = {"labels": labels, "batch_size": batch_size, "eot": 2, "draws": 3, **FEW[name]}
        rows = attacked(Wavering(1.0), name, LINF, images, **how)
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    assert told(1) == told(3) == told(64)


@pytest.mark.parametrize("name", STOPPING)
def test_no_sample_leaves_a_model_that_draws_on_one_lucky_look(name):
    """A model that says class 1 in a tenth of its draws is fooled by no image, however often it is looked at."""
    images, labels = pixels(30), torch.zeros(30, dtype=torch.int64)
    rows = attacked(Coin(0.1), name, LINF, images, labels, draws=21, **FEW[name])
    attempted = [row for row in rows if row["attacked"]]
    assert len(attempted) > 20
    assert {row["steps"] for row in attempted} == {max(row["steps"] for row in attempted)}
    assert max(row["forwards"] for row in attempted) > attempted[0]["steps"] + 1


def test_the_votes_of_many_members_are_no_lottery():
    """Each member of a cascade returns the image as it is, of which a model says the one or the other by chance."""
    images, labels = pixels(300), torch.zeros(300, dtype=torch.int64)
    member = case("attack_toys:idle", LINF, attacked="all").attack
    cascade = case("attack_toys:idle", LINF, attacked="all", then=(member,) * 5)
    rows = attack_samples(Coin(0.3), cascade, images, labels, torch.arange(300), batch_size=300).to_pylist()
    known = [row for row in rows if row["clean_correct"]]
    assert 0.2 < sum(row["success"] for row in known) / len(known) < 0.4
    assert all((row["member"] is not None) == row["success"] for row in rows)


def test_an_attack_that_asks_when_a_sample_is_finished_says_so():
    for name in ("undeclared", "half_declared"):  # the id of a case knows of a transfer only if it is True
        with pytest.raises(AttackError, match=r"does not declare it: add stops=True"):
            attacked(linear(2), f"test_finished:{name}", LINF, pixels(3))


def test_an_attack_that_asks_what_can_be_believed_says_so():
    with pytest.raises(AttackError, match=r"does not declare it: add stops='drawing'"):
        attacked(linear(2), "test_finished:believing", LINF, pixels(3))


@pytest.mark.parametrize("name", ["pgd", "bim"])
def test_the_last_point_is_returned_whatever_was_better(name):
    model, images = Bent(), 0.4 + 0.2 * torch.rand(10, 1, 1, 1, generator=seeded(3), dtype=torch.float64)
    labels = torch.zeros(10, dtype=torch.int64)
    how = {"stop": "never", "steps": 7, **({"random_start": False, "alpha": 0.1 / 7} if name == "pgd" else {})}
    with frozen(model):
        best, last = (
            registry.load("attack", name)(
                counted(model, 10, "look"), images, labels, LINF, Streams("", torch.arange(10)), **how, returns=returns
            )[0]
            for returns in ("best", "last")
        )
    points = images.clone()
    with frozen(model):
        looking, ball = counted(model, 10, "look"), Ball(images, LINF, counted(model, 10, "look").box)
        for _ in range(7):
            points = ball.step(points, looking.ascent(points, labels)[0], 0.1 / 7)
    assert torch.equal(last, points)
    assert not torch.equal(best, last)


def test_the_last_point_of_several_climbs_is_refused():
    with pytest.raises(AttackError, match="give restarts: 1"):
        attacked(linear(2), "pgd", LINF, pixels(3), returns="last", restarts=2)


def test_a_climb_that_returns_its_last_point_begins_where_any_other_does():
    model, images = linear(2), pixels(5)
    labels, streams = model(images).argmax(1), Streams("one key", torch.arange(5))
    with frozen(model):
        start = random_point(images, LINF, streams, 0)
        moved, _ = registry.load("attack", "pgd")(
            counted(model, 5, "look"), images, labels, LINF, streams, returns="last", steps=1, alpha=1e-9
        )
    assert torch.allclose(moved, start.clamp(0, 1), atol=1e-8)


class Bent(Toy):
    """Class 1 by a slope with waves on it, so that a step up the gradient may lead down."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten())
        self.anchor = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.double()

    def forward(self, images):
        value = images.flatten(1)[:, 0]
        return torch.stack([self.anchor + 0 * value, torch.sin(300 * value) - 2], 1)
