"""Parametric noise injection: what the noise is, who shares it, and that nothing else changes."""

import copy
from dataclasses import replace

import pytest
import torch
from attack_toys import case
from defense_cells import cell, real_images
from torch import nn

from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.defenses.parametric_noise import parametric_noise
from tasks.heads.softmax import softmax
from tasks.heads.softrmax import SoftRmaxHead, softrmax
from tasks.judge import attack_samples
from tasks.metrics import frozen
from tasks.model import Classifier, build_model, make
from tasks.noise import Noise, drawing, is_stochastic
from tasks.registry import describe
from tasks.streams import Streams
from tasks.trainings.standard import standard

PIXELS = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def linear(head=softmax, **parameters) -> Classifier:
    """A noisy linear classifier."""
    torch.manual_seed(0)
    model = Classifier(nn.Flatten(), head(36, 3), shape=(1, 6, 6), num_classes=3, mean=(0.0,), std=(1.0,))
    parametric_noise(**parameters).adapt(model)
    return model.double().eval()


def network(hidden: int = 8) -> Classifier:
    """Two noisy convolutions and two noisy linear layers."""
    torch.manual_seed(0)
    body = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, groups=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(16, hidden), nn.ReLU()),
    )
    model = Classifier(body, softmax(hidden, 3), shape=(1, 6, 6), num_classes=3, mean=(0.5,), std=(0.5,))
    parametric_noise().adapt(model)
    return model.double().eval()


def counted(model: Classifier, samples: torch.Tensor, **options) -> CountedModel:
    noise = Streams("case", samples)
    return CountedModel(model, samples, Budget("l2", None), num_classes=3, noise=noise, **options)


def noiseless(model: Classifier, images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1) @ model.head.weight.T + model.head.bias


@torch.no_grad()
def scores_of_passes(model: Classifier, images: torch.Tensor, count: int) -> torch.Tensor:
    """(count, images, classes): the scores of so many passes."""
    streams = Streams("case", torch.arange(len(images)))
    found = []
    for number in range(count):
        with drawing(Noise(streams, torch.full((len(images),), number))):
            found.append(model(images))
    return torch.stack(found)


def test_a_linear_layers_scores_scatter_around_the_noiseless_by_alpha_sigma_and_the_inputs_length():
    model = linear(alpha=0.4)
    with torch.no_grad():
        model.head.parametrizations.weight.original.add_(1.5)  # sigma is about the mean, not about 0
    found = scores_of_passes(model, PIXELS, 4_000)
    sigma = model.head.weight.std(correction=0)
    expected = 0.4 * sigma * PIXELS.flatten(1).norm(dim=1)
    assert torch.allclose(found.mean(0), noiseless(model, PIXELS), atol=5 * expected.max().item() / 4_000**0.5)
    assert torch.allclose(found.std(0), expected[:, None].expand(-1, 3), rtol=0.06)


def test_the_gradient_in_alpha_is_that_of_the_noisy_weight_and_sigma_passes_none_on():
    model = linear(alpha=0.3)
    weight_noise = model.head.parametrizations.weight[0]
    original = model.head.parametrizations.weight.original
    torch.manual_seed(5)
    model.train()(PIXELS).square().sum().backward()
    torch.manual_seed(5)
    eta, sigma = torch.randn_like(original), original.detach().std(correction=0)
    noisy = (original.detach() + 0.3 * sigma * eta).requires_grad_()
    (PIXELS.flatten(1) @ noisy.T + model.head.bias.detach()).square().sum().backward()
    assert torch.allclose(original.grad, noisy.grad)
    assert torch.allclose(weight_noise.alpha.grad, (noisy.grad * eta).sum() * sigma)
    assert weight_noise.alpha.grad.abs() > 0


def test_scores_do_not_depend_on_the_batch_its_order_or_where_its_neighbours_are():
    model, samples = network(), torch.arange(4)
    with frozen(model), torch.no_grad():
        whole = counted(model, samples)
        first, second = whole(PIXELS), whole(PIXELS)
        assert not torch.isclose(first, second).any()
        for rows in ([2], [3, 0], [1, 3, 2, 0]):
            part = counted(model, samples[rows])
            assert torch.allclose(part(PIXELS[rows]), first[rows], atol=1e-12)
            assert torch.allclose(part(PIXELS[rows]), second[rows], atol=1e-12)
        # Samples 1 and 3 are a pass ahead of 0 and 2.
        mixed = counted(model, samples)
        ahead = torch.tensor([1, 3])
        assert torch.allclose(mixed.at(ahead)(PIXELS[ahead]), first[ahead], atol=1e-12)
        found = mixed(PIXELS)
        assert torch.allclose(found[ahead], second[ahead], atol=1e-12)
        assert torch.allclose(found[[0, 2]], first[[0, 2]], atol=1e-12)


def test_eot_is_the_mean_over_the_passes_with_its_gradient():
    model, samples = network(), torch.arange(4)
    with frozen(model):
        images = PIXELS.clone().requires_grad_()
        together = counted(model, samples, eot=5)(images)
        (gradient,) = torch.autograd.grad(together.square().sum(), images)
        one_by_one = counted(model, samples)
        apart = torch.stack([one_by_one(images) for _ in range(5)]).mean(0)
        (expected,) = torch.autograd.grad(apart.square().sum(), images)
    assert torch.allclose(together, apart, atol=1e-12)
    assert torch.allclose(gradient, expected, atol=1e-12)


def test_in_chunks_of_a_fixed_size_not_one_bit_depends_on_the_batch():
    model, samples, images = network(800).float(), torch.arange(40), torch.rand(40, 1, 6, 6)
    with frozen(model), torch.no_grad():
        whole = counted(model, samples, eot=3, fixed_batch=8)(images)
        for rows in ([0], [7, 20, 39], list(range(11))):
            part = counted(model, samples[rows], eot=3, fixed_batch=8)(images[rows])
            assert torch.equal(part, whole[rows])


def test_an_attack_finds_the_same_in_batches_of_any_size():
    model = network()
    labels = torch.tensor([0, 1, 2, 0])
    one = case("pgd", Budget("linf", 0.1), steps=4, eot=2, draws=3, attacked="all")
    rows = [
        attack_samples(model, one, PIXELS, labels, torch.arange(4), batch_size=size).drop_columns(["seconds"])
        for size in (1, 3, 4)
    ]
    assert rows[0].equals(rows[1])
    assert rows[1].equals(rows[2])


@pytest.mark.parametrize("evaluation", ["noise", "none"])
def test_the_noise_is_on_in_training_and_at_test_unless_it_is_turned_off(evaluation):
    model = linear(evaluation=evaluation)
    assert is_stochastic(model) == (evaluation == "noise")
    assert torch.allclose(model(PIXELS), noiseless(model, PIXELS)) == (evaluation == "none")
    assert not torch.allclose(model.train()(PIXELS), noiseless(model, PIXELS))


def test_what_the_registry_says_of_it_is_so():
    facts = describe("defense", "parametric_noise").facts
    assert (facts.stochastic, facts.evaluation) == ({"evaluation": ("noise",)}, ("evaluation",))
    kept, other = linear().state_dict(), linear(evaluation="none").state_dict()
    assert kept.keys() == other.keys()


def test_alpha_is_one_number_a_layer_and_is_trained_only_if_it_may_be():
    names = [name for name, _ in network().named_parameters() if name.endswith("alpha")]
    assert len(names) == 4
    fixed = linear(trainable=False, alpha=0.7)
    assert not [name for name, _ in fixed.named_parameters() if name.endswith("alpha")]
    assert fixed.state_dict()["head.parametrizations.weight.0.alpha"] == torch.tensor(0.7)


def test_a_head_keeps_its_kind_and_its_probabilities_and_a_copy_keeps_its_noise():
    model = linear(softrmax)
    assert isinstance(model.head, SoftRmaxHead)
    scores = model(PIXELS)
    assert torch.equal(model.log_probabilities(scores), SoftRmaxHead(36, 3).log_probabilities(scores))
    twin = copy.deepcopy(model)
    assert torch.equal(scores_of_passes(twin, PIXELS, 3), scores_of_passes(model, PIXELS, 3))
    with torch.no_grad():
        twin.head.parametrizations.weight.original.add_(1)
    assert not torch.allclose(noiseless(twin, PIXELS), noiseless(model, PIXELS))


def test_two_epochs_on_real_images_lower_the_loss_train_alpha_and_a_rebuilt_model_scores_the_same():
    splits = real_images()
    settings = cell("cnn_4conv", "parametric_noise")
    model = build_model(settings, splits[0])
    history = standard(model, *splits, make(settings.defense), 0, epochs=2, batch_size=32, lr=2e-3)
    before, after = history["loss"].to_pylist()
    assert after < before
    weights = model.state_dict()
    assert all(tensor != 0.25 for name, tensor in weights.items() if name.endswith("alpha"))
    again = build_model(settings, splits[0])
    again.load_state_dict({name: tensor.contiguous() for name, tensor in weights.items()})
    images = splits[1].images[:20] / 255
    found = scores_of_passes(model.eval(), images, 2)
    assert torch.equal(scores_of_passes(again.eval(), images, 2), found)
    quiet = replace(settings, defense=replace(settings.defense, parameters={"evaluation": "none"}))
    silent = build_model(quiet, splits[0])
    silent.load_state_dict(weights)
    assert torch.equal(silent.eval()(images), silent(images))
    assert not torch.equal(silent(images), found[0])
