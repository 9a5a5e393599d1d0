"""Label smoothing and randomised smoothing: the loss, the noise, and what the vote over it predicts."""

import math

import pytest
import torch
from attack_toys import attacked
from defended import cell, real_images, toy, trained

from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.defenses.label_smoothing import label_smoothing
from tasks.defenses.randomised_smoothing import randomised_smoothing
from tasks.noise import Noise, drawing, is_stochastic
from tasks.registry import describe
from tasks.streams import Streams
from tasks.training.objective import objective

IMAGES = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.tensor([0, 2, 1, 1, 0])


@pytest.fixture(scope="module")
def mnist():
    return real_images(600, 200)


def smoothed(sigma=0.25, **options):
    model = toy(**options)
    randomised_smoothing(sigma=sigma).adapt(model)
    return model.eval()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_is_cross_entropy_with_labels_mixed_with_the_uniform_distribution(smoothing):
    model = toy()
    loss, scores = objective(label_smoothing(smoothing=smoothing), model)(model, IMAGES, LABELS)
    target = (1 - smoothing) * torch.eye(3, dtype=torch.float64)[LABELS] + smoothing / 3
    expected = -(target * model(IMAGES).log_softmax(1)).sum(1).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert loss.item() == pytest.approx(
        torch.nn.functional.cross_entropy(scores, LABELS, label_smoothing=smoothing).item(), rel=1e-12
    )
    assert torch.equal(scores, model(IMAGES))


def test_the_smoothed_loss_is_least_at_the_mixed_probabilities():
    """Its minimum over p is their entropy, at p = 1 - s + s / K for the label and s / K for the others."""
    smoothing, model = 0.3, toy()
    own, other = 1 - smoothing + smoothing / 3, smoothing / 3
    model.head.weight.data.zero_()
    model.head.bias.data.copy_(torch.tensor([own, other, other], dtype=torch.float64).log())
    loss, _ = label_smoothing(smoothing=smoothing).loss(model, IMAGES[:2], torch.zeros(2, dtype=torch.int64))
    assert loss.item() == pytest.approx(-own * math.log(own) - 2 * other * math.log(other), rel=1e-12)
    (gradient,) = torch.autograd.grad(loss, model.head.bias)
    assert gradient.abs().max() < 1e-15


@pytest.mark.parametrize("name", ["label_smoothing", "randomised_smoothing"])
@pytest.mark.parametrize("head", ["softmax", "softrmax"])
def test_two_epochs_on_real_images_lower_the_loss(mnist, name, head):
    _, history = trained(cell(name, head=head), mnist, epochs=2, batch_size=32, lr=2e-3)
    before, after = history["loss"].to_pylist()
    assert after < before
    assert history["test_accuracy"].to_pylist()[1] > 0.5


def test_a_smoothed_label_keeps_the_scores_of_real_images_smaller(mnist):
    how = {"epochs": 4, "batch_size": 32, "lr": 2e-3}
    natural, smooth = (trained(cell(name), mnist, **how)[0] for name in ("natural", "label_smoothing"))
    images = mnist[1].images.float() / 255
    sure = [model(images).softmax(1).amax(1).mean().item() for model in (natural, smooth)]
    assert sure[1] < sure[0] - 0.02


def test_the_model_says_that_it_draws_and_the_noise_is_in_no_state_dict():
    model = smoothed()
    assert is_stochastic(model)
    assert describe("defense", "randomised_smoothing").facts.stochastic is True
    assert model.state_dict().keys() == toy().state_dict().keys()


@pytest.mark.parametrize("training", [True, False])
def test_the_noise_is_gaussian_of_the_given_deviation_and_not_clipped(training):
    layer = smoothed(0.5).train(training).input
    pixels = torch.linspace(0, 1, 3, dtype=torch.float64).view(3, 1, 1, 1).expand(3, 1, 200, 200)
    torch.manual_seed(0)
    for noise in (None, Noise(Streams("a", torch.arange(3)), torch.zeros(3, dtype=torch.int64))):
        with drawing(noise):
            added = layer(pixels) - pixels
        assert added.mean((1, 2, 3)).abs().max() < 5 * 0.5 / 200
        assert (added.std((1, 2, 3)) - 0.5).abs().max() < 5 * 0.5 / math.sqrt(2 * 200**2)
        assert ((added < -0.5).double().mean((1, 2, 3)) - 0.1587).abs().max() < 0.01
        assert (pixels + added).min() < -0.5
        assert (pixels + added).max() > 1.5


def test_what_is_drawn_belongs_to_the_sample_and_the_pass_and_not_to_the_batch():
    model, samples = smoothed(), torch.tensor([7, 3, 9, 4, 1])
    passes = torch.tensor([0, 1, 2, 0, 5])

    def scores(rows):
        with drawing(Noise(Streams("key", samples[rows]), passes[rows])):
            return model(IMAGES[rows])

    together = scores(torch.arange(5))
    assert torch.allclose(torch.cat([scores(torch.tensor([row])) for row in range(5)]), together, rtol=1e-13)
    assert torch.allclose(scores(torch.tensor([4, 0]))[1], together[0], rtol=1e-13)
    passes += 1
    assert not torch.isclose(scores(torch.arange(5)), together).any()


@pytest.mark.parametrize(("batch_size", "fixed_batch"), [(1, None), (2, 3)])
def test_a_smoothed_model_is_attacked_alike_in_every_batch(batch_size, fixed_batch):
    images = torch.rand(30, 1, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = toy()(images).argmax(1)

    def told(size, fixed):
        how = {"batch_size": size, "fixed_batch": fixed, "eot": 4, "draws": 9, "steps": 5}
        rows = attacked(smoothed(0.1), "pgd", Budget("linf", 0.05), images, labels, **how)
        return [[row[name] for name in ("clean_pred", "adv_pred", "success", "forwards", "linf")] for row in rows]

    whole = told(64, None)
    assert told(batch_size, fixed_batch) == whole
    assert 0 < sum(success for _, _, success, _, _ in whole) < 30
    # Looks of four draws, and ten where a point that one of them puts forward is to be believed.
    assert all(row[3] % 2 == 0 for row in whole if row[3] is not None)
    assert any(row[3] % 4 != 0 for row in whole if row[3] is not None)


def test_the_mean_over_draws_tends_to_the_scores_without_noise_for_a_linear_model():
    model, bare = smoothed(0.25), toy()
    counted = CountedModel(
        model, torch.arange(5), Budget("l2", None), num_classes=3, eot=4000, noise=Streams("key", torch.arange(5))
    )
    spread = 0.25 * (model.head.weight / 0.25).square().sum(1).sqrt() / math.sqrt(4000)
    assert ((counted(IMAGES) - bare(IMAGES)).abs() < 4.5 * spread).all()
    assert counted.forwards.tolist() == [4000] * 5


def test_two_parts_in_front_of_a_model_follow_each_other():
    model = smoothed(0.3)
    randomised_smoothing(sigma=0.4).adapt(model)
    pixels = torch.zeros(1, 1, 300, 300, dtype=torch.float64)
    with drawing(Noise(Streams("a", torch.arange(1)), torch.zeros(1, dtype=torch.int64))):
        assert model.input(pixels).std().item() == pytest.approx(0.5, abs=0.01)
