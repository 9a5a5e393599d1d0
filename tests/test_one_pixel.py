"""The one-pixel attack: its evolution, when it stops, and what a search of all pixels finds."""

import pytest
import torch
from attack_toys import Toy, attacked, conv_net, linear, pixels
from torch import nn

from tasks.attacks._candidates import children, decoded, paint
from tasks.attacks.one_pixel import one_pixel
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import frozen
from tasks.streams import Streams
from tasks.types import AttackError

L0 = Budget("l0", None)


def called(model, images, labels=None, targets=None, budget=L0, **parameters):
    """The attack itself: images, steps, the counting model."""
    labels = model(images).argmax(1).detach() if labels is None else labels
    samples = torch.arange(len(images))
    with frozen(model):
        counted = CountedModel(model, samples, budget, num_classes=4, targets=targets)
        streams = Streams("key", samples, targets)
        found, steps = one_pixel(counted, images, labels, budget, streams, **parameters)
    return found, steps, counted


def brute_force(model, images):
    """Every image with each pixel at 0 and at 1: (n, pixels * 2, 1, height, width)."""
    count, size = len(images), images[0].numel()
    flat = images.flatten(1)[:, None, None].repeat(1, size, 2, 1)
    place = torch.arange(size)
    flat[:, place, 0, place], flat[:, place, 1, place] = 0.0, 1.0
    return flat.view(count, size * 2, *images.shape[1:])


def likelihood(model, images, labels):
    with torch.no_grad():
        return model(images).softmax(1).gather(1, labels[:, None])[:, 0]


@pytest.mark.parametrize("model", [conv_net(), linear(3)], ids=["conv_net", "linear"])
def test_it_finds_what_a_search_of_all_pixels_finds(model):
    images = pixels(40)
    labels = model(images).argmax(1).detach()
    tried = brute_force(model, images)
    predicted = model(tried.flatten(0, 1)).argmax(1).view(40, -1)
    possible = (predicted != labels[:, None]).any(1)
    rows = attacked(model, "one_pixel", L0, images, population=100, generations=40)
    found = torch.tensor([row["success"] for row in rows])
    assert int(possible.sum()) >= 5
    assert int((possible & ~found).sum()) == 0
    assert all(row["l0"] == 1 for row in rows if row["success"])


def test_on_a_linear_model_it_finds_the_best_pixel_and_colour():
    model, images = linear(2, scale=0.2), 0.4 + 0.2 * pixels(20)
    labels = model(images).argmax(1).detach()
    tried = brute_force(model, images)
    least = likelihood(model, tried.flatten(0, 1), labels.repeat_interleave(72)).view(20, -1).amin(1)
    found, _, _ = called(model, images, population=100, generations=40, stop="never")
    reached = likelihood(model, found, labels)
    assert torch.allclose(reached, least, rtol=0.02)
    assert bool((reached >= least - 1e-9).all())


@pytest.mark.parametrize("count", [1, 2, 5])
def test_no_more_pixels_change_than_it_is_given(count):
    model, images = linear(3, shape=(3, 5, 7)), pixels(20, (3, 5, 7))
    rows = attacked(model, "one_pixel", L0, images, pixels=count, population=20, generations=5, stop="never")
    assert all(row["l0"] <= count for row in rows)
    assert count == 1 or any(row["l0"] == count for row in rows)


def test_a_sample_is_done_when_a_candidate_fools():
    images = pixels(40)
    found, steps, model = called(conv_net(), images, population=30, generations=10)
    labels = conv_net()(images).argmax(1)
    fooled = conv_net()(found).argmax(1) != labels
    assert 5 < int(fooled.sum()) < 40
    assert steps[~fooled].unique().tolist() == [10]
    assert len(steps[fooled].unique()) > 1
    assert torch.equal(model.forwards, 1 + 30 * (steps + 1))


def test_success_is_the_prediction_and_not_the_confidence():
    images = pixels(40)
    labels = conv_net()(images).argmax(1)
    sure, steps, _ = called(conv_net(), images, population=30, generations=10, stop="confidence")
    quick, steps_quick, _ = called(conv_net(), images, population=30, generations=10)
    reached = likelihood(conv_net(), sure, labels)
    fooled, fooled_quick = (conv_net()(found).argmax(1) != labels for found in (sure, quick))
    unsure = fooled & (reached >= 0.1)
    assert bool(unsure.any())
    assert steps[unsure].unique().tolist() == [10]
    assert bool((reached[steps < 10] < 0.1).all())
    assert int((fooled_quick & ~fooled).sum()) == 0
    assert bool((steps >= steps_quick).all())


def test_a_target_is_reached_with_the_confidence_asked_for():
    images = pixels(40)
    targets = (conv_net()(images).argmax(1) + 1) % 4
    options = {"population": 30, "generations": 10, "stop": "confidence", "pixels": 3}
    found, steps, _ = called(conv_net(), images, targets=targets, **options)
    reached = likelihood(conv_net(), found, targets)
    assert bool((steps < 10).any())
    assert bool((reached[steps < 10] > 0.5).all())
    strict, steps_strict, _ = called(conv_net(), images, targets=targets, **options | {"targeted_stop": 0.9})
    assert bool((steps_strict >= steps).all())
    assert bool((likelihood(conv_net(), strict, targets)[steps_strict < 10] > 0.9).all())


def test_it_aims_at_a_class():
    rows = attacked(linear(3, scale=0.5), "one_pixel", L0, pixels(10), targets="all", population=40, generations=10,
                    pixels=3)  # fmt: skip
    assert len(rows) == 20
    assert all(row["adv_pred"] == row["target"] for row in rows if row["success"])
    assert sum(row["success"] for row in rows) > 0


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("stop", ["success", "confidence", "never"])
def test_a_sample_that_is_there_already_costs_one_look(targeted, stop):
    images = pixels(6)
    predicted = conv_net()(images).argmax(1)
    labels = (predicted + 1) % 4
    found, steps, model = called(conv_net(), images, labels, predicted if targeted else None, stop=stop)
    assert torch.equal(found, images)
    assert steps.tolist() == [0] * 6
    assert model.forwards.tolist() == [1] * 6


def test_members_are_drawn_three_different_at_a_time():
    members = torch.eye(6, dtype=torch.float64).view(1, 6, 1, 6).expand(2, -1, -1, -1)
    mixed = set()
    for step in range(300):
        drawn = Streams("key", torch.arange(2)).uniform("children", step, (6, 9), torch.float64)
        drawn[:, :, 3:] = 9.0  # where a child is out of range
        for child in children(members, drawn).flatten(0, 2):
            a, b = (child == 1).nonzero()[:, 0].tolist(), (child == 0.5).nonzero()[:, 0].tolist()
            c = (child == 9).nonzero()[:, 0].tolist()
            assert (len(a), len(b), len(c)) == (1, 1, 1)
            mixed.add((*a, *b, *c))
    assert len(mixed) == 6 * 5 * 4


def test_what_is_out_of_range_is_drawn_anew():
    members = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64).view(1, 3, 1, 1).repeat(1, 1, 1, 3)
    drawn = Streams("key", torch.arange(1)).uniform("children", 0, (3, 6), torch.float64)
    drawn[:, :, :3] = torch.tensor([[0.7, 0.9, 0.0], [0.0, 0.9, 0.0], [0.5, 0.9, 0.0]])
    bred, fresh = children(members, drawn), drawn[:, :, 3:].view(1, 3, 1, 3)
    assert torch.equal(bred[0, 0], fresh[0, 0])  # 1 + (0.5 - 0) / 2
    assert bool((bred[0, 1] == 0.25).all())  # 0 + (1 - 0.5) / 2
    assert torch.equal(bred[0, 2], torch.full_like(bred[0, 2], 1.0))  # 0.5 + (1 - 0) / 2


def test_every_pixel_can_be_painted_and_the_later_of_two_wins():
    images, counted = pixels(1, (2, 3, 5)), CountedModel(linear(shape=(2, 3, 5)), torch.arange(1), L0, num_classes=3)
    corners = torch.tensor([[0.0, 0.0, 0.1, 0.2], [1.0, 1.0, 0.3, 0.4], [1.0, 1.0, 0.5, 0.6]], dtype=torch.float64)
    places, colours = decoded(corners[None, None], counted, images)
    assert places[0, 0].tolist() == [[0, 14, 14]] * 2
    paint(images.flatten(2), places[:, 0], colours[:, 0])
    assert images[0, :, 0, 0].tolist() == [0.1, 0.2]
    assert images[0, :, 2, 4].tolist() == [0.5, 0.6]


def test_colours_are_pixels_also_in_standardised_units():
    images, model = pixels(20), linear(2, mean=0.3, std=0.4)
    plain, other = (
        attacked(model, "one_pixel", Budget("l0", None, space), images, population=40, generations=5, stop="never")
        for space in ("pixel", "standardised")
    )
    for row, standard in zip(plain, other, strict=True):
        assert row["l0"] == standard["l0"] == 1
        assert 0 < standard["linf"] <= 1 / 0.4


def test_a_sure_model_is_searched_like_an_unsure_one():
    columns = ("success", "steps", "l0", "linf")
    images = 0.4 + 0.2 * pixels(20, dtype=torch.float32)
    sure, unsure = (linear(2, scale=scale, dtype=torch.float32) for scale in (1000.0, 1.0))
    with torch.no_grad():
        assert int((sure(images).softmax(1).amax(1) == 1).sum()) >= 15
    rows, others = (attacked(model, "one_pixel", L0, images, population=60, generations=30) for model in (sure, unsure))
    assert [[row[name] for name in columns] for row in rows] == [[row[name] for name in columns] for row in others]
    assert sum(row["success"] for row in rows) >= 3


def test_a_population_is_split_over_passes_without_a_trace(monkeypatch):
    images = pixels(12)
    whole, steps, model = called(conv_net(), images, population=30, generations=6)
    for sizes in ((36 * 30, 36 * 8), (36, 36), (36 * 70, 36 * 50)):
        monkeypatch.setattr("tasks.attacks.one_pixel._sizes", lambda _, sizes=sizes: sizes)
        found, other_steps, other_model = called(conv_net(), images, population=30, generations=6)
        assert torch.equal(found, whole)
        assert torch.equal(other_steps, steps)
        assert torch.equal(other_model.forwards, model.forwards)


def test_no_generation_is_the_first_population_alone():
    _, steps, model = called(conv_net(), pixels(10), population=10, generations=0)
    assert steps.tolist() == [0] * 10
    assert model.forwards.tolist() == [11] * 10


def test_a_flat_model_leaves_the_image_as_it_is():
    model = Toy(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)))
    with torch.no_grad():
        model.double().body[1].weight.zero_()
    found, _, _ = called(model, pixels(3), population=10, generations=3)
    assert torch.equal(found, pixels(3))


def test_a_population_of_two_is_refused():
    with pytest.raises(AttackError, match="three different members of a population of 2"):
        called(conv_net(), pixels(2), population=2)


def test_more_samples_than_members_are_no_trouble():
    found, _, _ = called(conv_net(), pixels(40), population=3, generations=4)
    alone, _, _ = called(conv_net(), pixels(40)[:1], population=3, generations=4)
    assert torch.equal(found[:1], alone)
