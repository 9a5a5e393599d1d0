"""The state that attacks keep of a batch: rows are picked, written back and let go together."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from tasks.given import Given, as_pixels
from tasks.per_sample import PerSample


@dataclass
class State(PerSample):
    rows: Tensor
    images: Tensor
    name: str = "toy"


def state(count=6):
    return State(torch.arange(count), torch.arange(count * 4.0).view(count, 1, 2, 2))


def images_of(rows):
    return state().images[rows]


def test_picked_rows_are_a_copy_in_the_order_asked_for():
    whole = state()
    part = whole.at(torch.tensor([4, 1]))
    assert (type(part), part.name, part.rows.tolist()) == (State, "toy", [4, 1])
    assert torch.equal(part.images, images_of([4, 1]))
    part.images.zero_()
    assert torch.equal(whole.images, state().images)


def test_rows_written_back_change_no_other_row_and_no_other_name():
    whole = state()
    whole.put(torch.tensor([4, 1]), State(torch.tensor([40, 10]), -images_of([4, 1])))
    assert whole.rows.tolist() == [0, 10, 2, 3, 40, 5]
    assert torch.equal(whole.images[[1, 4]], -images_of([1, 4]))
    named = state()
    named.put(torch.tensor([4, 1]), State(torch.tensor([40, 10]), -images_of([4, 1])), "rows")
    assert named.rows.tolist() == [0, 10, 2, 3, 40, 5]
    assert torch.equal(named.images, state().images)


@pytest.mark.parametrize("going", ["111111", "000000", "011010", "111000", "000111", "101111"])
def test_samples_that_leave_come_back_whole_and_those_that_stay_keep_together(going):
    whole, beside = state(), torch.arange(6)
    gone = whole.release(torch.tensor([flag == "1" for flag in going]), [beside])
    assert sorted(whole.rows.tolist()) == [row for row in range(6) if going[row] == "1"]
    assert sorted(gone.rows.tolist()) == [row for row in range(6) if going[row] == "0"]
    assert torch.equal(whole.images, images_of(whole.rows))
    assert torch.equal(gone.images, images_of(gone.rows))
    assert beside.tolist() == [*whole.rows.tolist(), *gone.rows.tolist()]


def test_a_sample_that_stays_moves_only_where_another_has_left():
    whole = state()
    whole.release(torch.tensor([True, False, True, True, True, True]))
    assert whole.rows.tolist() == [0, 5, 2, 3, 4]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixels_are_bytes_over_255_and_floats_as_they_are_in_other_memory(dtype):
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    pixels = as_pixels(levels, dtype)
    assert torch.equal(pixels, torch.arange(256, dtype=dtype).view(1, 1, 16, 16) / 255)
    again = as_pixels(pixels, dtype)
    assert torch.equal(again, pixels)
    again.zero_()
    assert pixels.max() == 1


def test_what_is_given_has_targets_only_where_something_is_aimed_at():
    labels, samples = torch.tensor([1, 2, 0]), torch.tensor([7, 8, 9])
    given = Given.on(torch.zeros((), dtype=torch.float64), images_of([0, 1, 2]), labels, samples)
    assert given.pixels.dtype == torch.float64
    some = given.at(slice(1, 3))
    assert (len(some), some.samples.tolist(), some.labels.tolist(), some.targets) == (2, [8, 9], [2, 0], None)
    aimed = Given(given.pixels, labels, samples, torch.tensor([3, 4, 5])).at(torch.tensor([2, 0]))
    assert aimed.targets.tolist() == [5, 3]
