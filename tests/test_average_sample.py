"""The average-sample attack: its averages, whole and in chunks, against sums in plain Python."""

import pytest
import torch
from attack_toys import attacked, case, linear, pixels

from tasks.attacks.average_sample import average_sample
from tasks.cases import Budget
from tasks.prepare import prepare_attack
from tasks.streams import Streams
from tasks.types import AttackError

NAME = "average_sample"
EPS = Budget("linf", 0.1, box=False)


def prepared(images, labels, budget=EPS, samples=None, num_classes=3, **parameters):
    samples = torch.arange(len(images)) if samples is None else samples
    one = case(NAME, budget, **parameters)
    return prepare_attack(linear(num_classes), one, images, labels, samples, num_classes=num_classes)


class Recorder:
    """Stands in for the counted model: the attack asks it for its targets and box only."""

    def __init__(self, targets):
        self.targets = targets
        self.box = torch.full((1,), -torch.inf), torch.full((1,), torch.inf)


def moved(images, labels, targets, state, samples=None, **parameters):
    """What the attack itself makes of the images, and the steps."""
    samples = torch.arange(len(images)) if samples is None else samples
    return average_sample(Recorder(targets), images, labels, EPS, Streams("", samples), state, **parameters)


def average(images, labels, wanted):
    own = [image for image, label in zip(images, labels.tolist(), strict=True) if label == wanted]
    return sum(own) / len(own)


def test_an_image_moves_by_eps_along_the_sign_between_the_averages():
    images, labels = pixels(12), torch.arange(12) % 3
    made = prepared(images, labels)
    found, steps = moved(images, labels, (labels + 1) % 3, made.state)
    for image, before, label in zip(found, images, labels.tolist(), strict=True):
        toward = average(images, labels, (label + 1) % 3) - average(images, labels, label)
        assert torch.allclose(image, before + 0.1 * toward.sign())
    assert steps.tolist() == [1] * 12
    assert made.facts == {"samples": 12, "forwards": 0, "backwards": 0, "chunks": 0, "absent_classes": 0}


def test_each_chunk_of_the_split_has_averages_of_its_own():
    images, labels = pixels(12), torch.arange(12) % 3
    chosen = {"chunk": 6, "fit_split": "test"}
    order = torch.tensor([7, 2, 11, 0, 5, 9, 1, 3, 10, 4, 8, 6])
    made = prepared(images[order], labels[order], samples=order, **chosen)
    found, _ = moved(images, labels, (labels + 2) % 3, made.state, **chosen)
    for first in (0, 6):
        part, own = images[first : first + 6], labels[first : first + 6]
        for row in range(6):
            label = int(own[row])
            toward = average(part, own, (label + 2) % 3) - average(part, own, label)
            assert torch.allclose(found[first + row], part[row] + 0.1 * toward.sign())
    assert made.facts["chunks"] == 2


def test_a_class_absent_from_a_chunk_takes_its_average_over_the_whole_set():
    images, labels = pixels(6), torch.tensor([0, 1, 0, 1, 0, 2])
    chosen = {"chunk": 4, "fit_split": "test"}
    found, steps = moved(images, labels, torch.tensor([2, 2, 1, 0, 2, 0]), prepared(images, labels, **chosen).state,
                         **chosen)  # fmt: skip
    own = average(images[:4], labels[:4], 0)
    assert torch.allclose(found[0], images[0] + 0.1 * (images[5] - own).sign())
    assert torch.allclose(found[2], images[2] + 0.1 * (average(images[:4], labels[:4], 1) - own).sign())
    assert steps.tolist() == [1] * 6


def test_a_class_without_any_image_moves_nothing_and_takes_no_step():
    images, labels = pixels(4), torch.tensor([0, 1, 0, 1])
    made = prepared(images, labels)
    found, steps = moved(images, labels, torch.tensor([2, 2, 1, 0]), made.state)
    assert torch.equal(found[:2], images[:2])
    assert bool((found[2:] != images[2:]).all())
    assert steps.tolist() == [0, 0, 1, 1]
    assert made.facts["absent_classes"] == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pixel_that_never_changes_is_left_alone(dtype):
    images = pixels(97, dtype=dtype)
    images[:, :, 0] = (torch.zeros(1, dtype=dtype) - 0.1307) / 0.3081
    labels = (torch.arange(97) % 7 > 2).long() + (torch.arange(97) % 7 > 5).long()
    found, _ = moved(images, labels, (labels + 1) % 3, prepared(images, labels).state)
    assert torch.equal(found[:, :, 0], images[:, :, 0])
    assert bool((found[:, :, 1:] != images[:, :, 1:]).all())


def test_every_other_class_is_a_target_through_the_judge_within_box_and_budget():
    images, model = torch.round(pixels(8)), linear(3)
    labels = model(images).argmax(1)
    budget = Budget("linf", 0.3)
    state = prepared(pixels(30, seed=6), torch.arange(30) % 3, budget).state
    rows = attacked(model, NAME, budget, images, targets="all", state=state)
    assert [row["target"] for row in rows] == [
        other for label in labels.tolist() for other in range(3) if other != label
    ]
    assert all(0 < row["linf"] <= 0.3 + 1e-6 for row in rows)
    assert all((row["forwards"], row["backwards"], row["steps"]) == (0, 0, 1) for row in rows)
    alone = [
        attacked(model, NAME, budget, images[i : i + 1], samples=torch.tensor([100 + i]), targets="all", state=state)
        for i in range(8)
    ]
    columns = ("sample", "target", "adv_pred", "success", "l2")
    assert [[row[c] for c in columns] for part in alone for row in part] == [[row[c] for c in columns] for row in rows]


def test_chunks_of_another_split_than_the_attacked_one_are_refused():
    with pytest.raises(AttackError, match="fit_split: test"):
        prepared(pixels(6), torch.arange(6) % 3, chunk=3)


def test_a_sample_beyond_the_fitted_chunks_takes_the_averages_of_the_whole_set():
    images, labels = pixels(6), torch.arange(6) % 3
    chosen = {"chunk": 3, "fit_split": "test", "fit_samples": 6}
    state = prepared(images, labels, **chosen).state
    found, _ = moved(images[:1], labels[:1], torch.tensor([1]), state, samples=torch.tensor([40]), **chosen)
    toward = average(images, labels, 1) - average(images, labels, 0)
    assert torch.allclose(found[0], images[0] + 0.1 * toward.sign())
