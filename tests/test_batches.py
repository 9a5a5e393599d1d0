"""What an epoch is made of: every image once, held-out ones never, generated ones in their exact share."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from trainings import CPU, NATURAL, cell, load

from tasks.model import Classifier, build_model, make
from tasks.training.batches import Data, Epochs
from tasks.training.evaluation import accuracy
from tasks.training.objective import Defense, mean_loss
from tasks.trainings.standard import standard
from tasks.types import Mix, Split, TaskError


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture
def model(digits) -> Classifier:
    return build_model(cell(), digits[0])


def numbered(count: int, generated: int = 0, share: float = 0.0, *, floats: bool = False) -> Split:
    """Originals 0, 1, ... and generated images 128, 129, ..., of which each pixel of the two is the number's."""
    images, other = (
        torch.arange(n, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 1, 2) for n in (count, generated)
    )
    mix = Mix(other + 128, torch.arange(generated) + 128, share) if generated else None
    return Split(images.float() / 255 if floats else images, torch.arange(count), ("a",) * 256, (0.0,), (1.0,), mix)


def epoch(epochs: Epochs, number: int, size: int) -> list[list[int]]:
    """The numbers of the images in each batch, after asking whether pixels and labels belong together."""
    batches = list(epochs.batches(number, size))
    for images, labels in batches:
        assert images.dtype == torch.float32
        assert torch.equal(images, (labels.float() / 255).view(-1, 1, 1, 1).expand(-1, 1, 1, 2))
    return [labels.tolist() for _, labels in batches]


def flat(batches: list[list[int]]) -> list[int]:
    return [number for batch in batches for number in batch]


@pytest.mark.parametrize("floats", [False, True])
def test_an_epoch_is_every_image_once_in_an_order_of_its_own(floats):
    epochs = Epochs(numbered(50, floats=floats), CPU, 0, 0.0, None)
    one, two = (epoch(epochs, number, 16) for number in (1, 2))
    assert [len(batch) for batch in one] == [16, 16, 16, 2]
    assert sorted(flat(one)) == sorted(flat(two)) == list(range(50))
    assert flat(one) != flat(two)
    assert flat(one) != list(range(50))


@pytest.mark.parametrize("generated", [0, 40])
def test_a_last_batch_of_fewer_images_than_are_needed_joins_the_one_before(generated):
    epochs = Epochs(numbered(49, generated, 0.5), CPU, 0, 0.0, None)
    for least, sizes in ((1, [16, 16, 16, 1]), (2, [16, 16, 17])):
        batches = [labels.tolist() for _, labels in epochs.batches(1, 16, least=least)]
        assert [len(batch) for batch in batches] == sizes
        assert sorted(flat(batches)) == sorted(flat(epoch(epochs, 1, 16)))
    assert [len(labels) for _, labels in epochs.batches(1, 49, least=2)] == [49]
    alone = Epochs(numbered(1), CPU, 0, 0.0, None)
    assert [len(labels) for _, labels in alone.batches(1, 16, least=2)] == [1]


@pytest.mark.parametrize(("side", "sizes"), [(4, [16, 17]), (8, [16, 16, 1])])
def test_a_last_batch_of_one_joins_where_a_normalisation_would_see_a_single_value(digits, side, sizes):
    seen = []

    def loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(len(images))
        return mean_loss(model, images, labels)

    splits = [replace(split, images=split.images[:33, :, :side, :side], labels=split.labels[:33]) for split in digits]
    model = build_model(cell(architecture="resnet_small"), splits[0])
    before = torch.get_rng_state()
    history = standard(model, *splits, Defense(loss=loss), 0, epochs=1, batch_size=16)
    assert seen == sizes
    assert history.num_rows == 1
    assert torch.equal(torch.get_rng_state(), before)


def test_an_order_is_a_function_of_seed_and_epoch_alone():
    first, again, other = (Epochs(numbered(50), CPU, seed, 0.0, None) for seed in (0, 0, 1))
    epoch(first, 1, 16)
    assert epoch(first, 7, 16) == epoch(again, 7, 16) != epoch(other, 7, 16)
    assert flat(epoch(first, 7, 16)) == flat(epoch(first, 7, 50))


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize(("share", "count"), [(0.3, 24), (0.7, 56), (1.0, 80)])
def test_generated_images_take_their_exact_share_of_an_epoch_whose_size_stays(share, count, floats):
    epochs = Epochs(numbered(80, generated=100, share=share, floats=floats), CPU, 0, 0.0, None)
    assert len(epochs) == 80
    for number in (1, 2):
        batches = epoch(epochs, number, 32)
        assert [len(batch) for batch in batches] == [32, 32, 16]
        assert sum(image >= 128 for image in flat(batches)) == count
        assert len(set(flat(batches))) == 80


def test_each_epoch_has_other_originals_and_other_generated_images_in_every_batch():
    epochs = Epochs(numbered(100, generated=120, share=0.5), CPU, 0, 0.0, None)
    seen = [epoch(epochs, number, 25) for number in range(1, 21)]
    parts = [{n for n in flat(batches) if (n >= 128) == generated} for batches in seen for generated in (False, True)]
    assert len({frozenset(part) for part in parts}) == 40
    assert set().union(*parts) == {*range(100), *range(128, 248)}
    mixed = [0 < sum(n >= 128 for n in batch) < 25 for batches in seen for batch in batches]
    assert all(mixed)


def test_generated_images_that_are_too_few_come_equally_often():
    drawn = flat(epoch(Epochs(numbered(100, generated=20, share=0.5), CPU, 0, 0.0, None), 1, 32))
    counts = [drawn.count(number) for number in range(128, 148)]
    assert sorted(counts) == [2] * 10 + [3] * 10


def test_a_share_of_nothing_is_the_split_itself():
    mixed, plain = (Epochs(numbered(50, generated, 0.0), CPU, 0, 0.0, None) for generated in (20, 0))
    assert epoch(mixed, 1, 16) == epoch(plain, 1, 16)


def test_held_out_and_left_out_images_are_in_no_epoch_and_the_share_is_of_the_rest():
    epochs = Epochs(numbered(100, generated=30, share=0.5), CPU, 0, 0.25, 40)
    held_out = set(epochs.held_out.labels.tolist())
    assert (len(held_out), len(epochs)) == (25, 40)
    drawn = [flat(epoch(epochs, number, 16)) for number in range(1, 30)]
    assert {sum(n >= 128 for n in numbers) for numbers in drawn} == {20}
    originals = {n for numbers in drawn for n in numbers if n < 128}
    assert len(originals) == 40
    assert not originals & held_out


def test_a_split_is_not_changed_by_its_batches():
    for floats in (False, True):
        split = numbered(50, floats=floats)
        before = split.images.clone()
        for images, _ in Epochs(split, CPU, 0, 0.0, None).batches(1, 16):
            images.zero_()
        assert torch.equal(split.images, before)


def test_a_training_sees_each_image_once_an_epoch(digits, model):
    seen = []

    def loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(images)
        return mean_loss(model, images, labels)

    standard(model, *digits, Defense(loss=loss), 0, epochs=2, batch_size=500)
    assert [len(images) for images in seen] == [500, 500, 200] * 2
    one, two = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert not torch.equal(one, two)
    for images in (one, two):
        assert sorted(images.flatten(1).tolist()) == sorted(digits[0].images.flatten(1).tolist())


def test_held_out_images_are_never_trained_on_and_are_what_validation_measures(digits, model):
    marked = replace(digits[0], images=torch.arange(1200).view(-1, 1, 1, 1).expand(-1, 1, 8, 8) / 1200)
    seen = set()

    def loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        seen.update(images[:, 0, 0, 0].tolist())
        return mean_loss(model, images, labels)

    history = standard(model, marked, digits[1], Defense(loss=loss), 0, epochs=3, validation=0.25)
    assert len(seen) == 900
    held_out = torch.tensor([value not in seen for value in marked.images[:, 0, 0, 0].tolist()])
    expected = accuracy(model, Data(marked.images[held_out], marked.labels[held_out]))
    assert history["validation_accuracy"].to_pylist()[-1] == expected


def test_so_many_images_are_trained_on_and_the_same_in_every_epoch(digits, model):
    epochs = Epochs(numbered(100), CPU, 3, 0.0, 30)
    one, two = (set(flat(epoch(epochs, number, 16))) for number in (1, 2))
    assert one == two
    assert len(one) == 30
    with pytest.raises(TaskError, match="samples is 101, but there are 100"):
        Epochs(numbered(100), CPU, 3, 0.0, 101)


def test_a_training_with_generated_images_learns_from_them(digits, model):
    wrong = Mix(digits[1].images.mul(255).round().byte(), (digits[1].labels + 1) % 10, 1.0)
    history = standard(model, replace(digits[0], mix=wrong), digits[1], make(NATURAL), 0, epochs=20, batch_size=32)
    assert history["train_accuracy"].to_pylist()[-1] > 0.9
    assert history["test_accuracy"].to_pylist()[-1] < 0.05
