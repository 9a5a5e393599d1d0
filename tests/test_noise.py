"""What a stochastic layer draws: tied to the sample, or to the pass that all samples share."""

import pytest
import torch

from tasks import noise
from tasks.noise import Noise, drawing
from tasks.streams import Streams

LIKE = torch.zeros(3, 5, dtype=torch.float64)
SAMPLES = torch.tensor([10, 11, 12, 13])
PASSES = torch.tensor([0, 2, 0, 1])


def shared(passes: torch.Tensor, *, samples=SAMPLES, key="case", places=1, rows=None, targets=None) -> torch.Tensor:
    """The draw that each row is given at the last of some places, (rows, *LIKE)."""
    whole = Noise(Streams(key, samples, targets), passes)
    count = len(samples) if rows is None else len(rows)
    with drawing(whole if rows is None else whole.at(rows)):
        for _ in range(places):
            found = noise.share_normal(LIKE, torch.zeros(count, 1), lambda given, drawn: drawn.expand(len(given), 3, 5))
    return found


def test_samples_at_the_same_pass_share_a_draw_and_others_do_not():
    drawn = shared(PASSES)
    assert torch.equal(drawn[0], drawn[2])
    for one, other in ((0, 1), (0, 3), (1, 3)):
        assert not torch.equal(drawn[one], drawn[other])


@pytest.mark.parametrize("rows", [[0], [1], [3, 1], [2, 0, 1, 3], [1, 1, 0]])
def test_a_shared_draw_does_not_depend_on_what_shares_the_batch_or_its_order(rows):
    alone = shared(PASSES[rows], samples=SAMPLES[rows])
    assert torch.equal(alone, shared(PASSES)[rows])


def test_a_shared_draw_depends_on_case_pass_and_place_and_not_on_sample_or_target():
    base = shared(PASSES)
    assert torch.equal(base, shared(PASSES, samples=SAMPLES + 50))
    assert torch.equal(base, shared(PASSES, targets=torch.tensor([0, 1, 2, 3])))
    for other in (shared(PASSES, key="other"), shared(PASSES + 3), shared(PASSES, places=2)):
        assert not (base == other).any()


def test_a_shared_draw_is_not_what_any_sample_draws_for_itself():
    with drawing(Noise(Streams("case", torch.tensor([0])), torch.tensor([0]))):
        own = noise.normal(LIKE[None])
    assert not (own[0] == shared(torch.tensor([0]), samples=torch.tensor([0]))[0]).any()


def test_the_rows_of_a_pass_are_run_together_and_come_back_in_order():
    given = torch.arange(4.0)[:, None]
    calls = []

    def run(inputs, drawn):
        calls.append(inputs[:, 0].tolist())
        return inputs * 10

    whole = Noise(Streams("case", SAMPLES), PASSES)
    with drawing(whole):
        assert noise.share_normal(LIKE, given, run).tolist() == [[0.0], [10.0], [20.0], [30.0]]
    assert calls == [[0.0, 2.0], [3.0], [1.0]]
    # A chunk of fixed size is run whole, so that rounding does not depend on how many are at the same pass.
    calls.clear()
    with drawing(whole.at(torch.tensor([3, 0, 1]))):
        assert noise.share_normal(LIKE, given[[3, 0, 1]], run).tolist() == [[30.0], [0.0], [10.0]]
    assert calls == [[3.0, 0.0, 1.0]] * 3


def test_shared_draws_are_standard_normal():
    many = torch.zeros(200, 300, dtype=torch.float64)
    with drawing(Noise(Streams("case", torch.tensor([4])), torch.tensor([7]))):
        drawn = noise.share_normal(many, torch.zeros(1, 1), lambda given, drawn: drawn[None])
    assert drawn.mean().item() == pytest.approx(0, abs=0.02)
    assert drawn.std().item() == pytest.approx(1, abs=0.02)
    assert drawn.pow(4).mean().item() == pytest.approx(3, abs=0.15)


def test_in_training_one_draw_from_torchs_generator_serves_the_batch():
    calls = []
    for _ in range(2):
        torch.manual_seed(3)
        noise.share_normal(LIKE, torch.zeros(6, 1), lambda given, drawn: calls.append((len(given), drawn)) or given)
    torch.manual_seed(3)
    expected = torch.randn_like(LIKE)
    assert [count for count, _ in calls] == [6, 6]
    assert all(torch.equal(drawn, expected) for _, drawn in calls)
