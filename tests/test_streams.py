"""Streams: the published cipher, its statistics, and draws that belong to the sample alone."""

import hashlib
import math

import pytest
import torch

from tasks.streams import Streams, philox, sample_order

SHAPE = (3, 5, 7)


def words(*values):
    return tuple(torch.tensor([value]) for value in values)


@pytest.mark.parametrize(
    ("counter", "key", "due"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_known_answers(counter, key, due):
    assert tuple(int(word) for word in philox(words(*counter), key)) == due


def test_a_grid_of_counters_gives_what_each_counter_gives_alone():
    parts = torch.arange(2).view(2, 1, 1), torch.arange(3).view(1, 3, 1), torch.arange(4), torch.tensor([9])
    grid = philox(parts, (1, 2))
    alone = philox(words(1, 2, 3, 9), (1, 2))
    assert [int(word.expand(2, 3, 4)[1, 2, 3]) for word in grid] == [int(word) for word in alone]


def drawn(kind, streams, step, dtype=torch.float32, shape=SHAPE):
    return getattr(streams, kind)("noise", step, shape, dtype)


@pytest.mark.parametrize("kind", ["uniform", "normal"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_draw_depends_on_no_neighbour_batch_or_order(kind, dtype):
    whole = drawn(kind, Streams("case", torch.arange(20)), 3, dtype)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn(kind, Streams("case", order), 3, dtype), whole[order])
    assert torch.equal(drawn(kind, Streams("case", torch.arange(20)).at(order[:7]), 3, dtype), whole[order[:7]])
    for batch in torch.arange(20).split(3):
        assert torch.equal(drawn(kind, Streams("case", batch), 3, dtype), whole[batch])


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_a_range_of_steps_gives_exactly_what_its_steps_give_one_by_one(kind):
    streams = Streams("case", torch.arange(4))
    together = drawn(kind, streams, range(5, 9))
    assert torch.equal(together, torch.stack([drawn(kind, streams, step) for step in range(5, 9)]))


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_a_step_for_each_row_gives_what_that_step_gives_the_row(kind):
    streams, steps = Streams("case", torch.arange(4)), torch.tensor([7, 0, 7, 2])
    together = drawn(kind, streams, steps)
    assert together.shape == (4, *SHAPE)
    for row, step in enumerate(steps.tolist()):
        assert torch.equal(together[row], drawn(kind, streams, step)[row])


def test_draws_differ_by_key_purpose_step_sample_and_target():
    samples = torch.arange(2)
    base = Streams("case", samples).uniform("noise", 0, (8,), torch.float64)
    others = [
        Streams("other", samples).uniform("noise", 0, (8,), torch.float64),
        Streams("case", samples).uniform("start", 0, (8,), torch.float64),
        Streams("case", samples).uniform("noise", 1, (8,), torch.float64),
        Streams("case", samples + 2).uniform("noise", 0, (8,), torch.float64),
        Streams("case", samples, torch.tensor([0, 0])).uniform("noise", 0, (8,), torch.float64),
        Streams("case", samples, torch.tensor([1, 1])).uniform("noise", 0, (8,), torch.float64),
    ]
    values = torch.cat([base, *others]).flatten()
    assert len(values.unique()) == len(values)


def test_targets_follow_their_rows():
    streams = Streams("case", torch.tensor([4, 4]), torch.tensor([0, 1]))
    assert torch.equal(drawn("uniform", streams.at(torch.tensor([1])), 0)[0], drawn("uniform", streams, 0)[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_numbers_are_uniform_in_the_unit_interval(dtype):
    values = Streams("case", torch.arange(400)).uniform("noise", 0, (500,), dtype).flatten().double()
    assert values.min() >= 0
    assert values.max() < 1
    counts = torch.histc(values, bins=100, min=0, max=1)
    chi_square = ((counts - 2000).square() / 2000).sum()
    assert 50 < chi_square < 160  # 99 degrees of freedom: mean 99, standard deviation 14


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_numbers_are_normal(dtype):
    values = Streams("case", torch.arange(400)).normal("noise", 0, (500,), dtype).flatten().double().sort().values
    cumulative = 0.5 * (1 + torch.erf(values / math.sqrt(2)))
    gap = (cumulative - (torch.arange(len(values)) + 0.5) / len(values)).abs().max()
    assert gap < 1.63 / math.sqrt(len(values))  # Kolmogorov and Smirnov, at 1 %
    assert 4 < values.abs().max() < 6.8


def test_samples_steps_and_purposes_are_uncorrelated():
    streams = Streams("case", torch.arange(100))
    a = streams.normal("a", range(3), (300,), torch.float64)
    b = streams.normal("b", 0, (300,), torch.float64)
    pairs = [(a[0], a[1]), (a[1], a[2]), (a[0], b), (a[0, :-1], a[0, 1:]), (a[0, :, :-1], a[0, :, 1:])]
    for left, right in pairs:
        correlation = (left * right).mean()
        assert abs(correlation) < 4 / math.sqrt(left.numel())


def test_scalar_shapes_and_empty_batches_are_drawn():
    assert Streams("case", torch.arange(3)).uniform("a", 0, (), torch.float32).shape == (3,)
    assert Streams("case", torch.arange(0)).normal("a", range(2), SHAPE, torch.float32).shape == (2, 0, *SHAPE)


def test_both_precisions_draw_the_same_numbers():
    streams = Streams("case", torch.arange(10))
    single, double = (streams.normal("a", 0, (40,), dtype) for dtype in (torch.float32, torch.float64))
    assert torch.allclose(single.double(), double, atol=1e-5)


def test_the_sample_order_is_one_permutation_for_ever():
    order = sample_order(10000, "shuffled")
    assert torch.equal(order.sort().values, torch.arange(10000))
    checksum = hashlib.sha256(",".join(map(str, order.tolist())).encode()).hexdigest()[:16]
    assert checksum == "b75d5e97abed3900"


def test_the_natural_order_counts_up_and_small_orders_work():
    assert sample_order(5, "natural").tolist() == [0, 1, 2, 3, 4]
    assert sample_order(0, "shuffled").tolist() == []
    assert sample_order(1, "shuffled").tolist() == [0]
