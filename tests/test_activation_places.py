"""The contract of every architecture: an activation for each place, made in the order in which an image meets them."""

import functools

import pytest
import torch
from torch import Tensor, nn

from tasks.activations.relu import relu
from tasks.model import seeded
from tasks.registry import load, names

GREY_ONLY = {"cnn_2conv", "cnn_4conv"}
RELU6 = {"mobilenet_v2"}


class Place(nn.Module):
    """An activation with all that one may have: a weight, noise in training, a penalty on what passed."""

    stochastic = True

    def __init__(self, met: list["Place"]) -> None:
        super().__init__()
        self.met = met
        self.slope = nn.Parameter(torch.tensor(0.1))
        self.passed: Tensor | None = None

    def forward(self, net: Tensor) -> Tensor:
        self.met.append(self)
        made = torch.where(net > 0, net, self.slope * net)
        if self.training:
            made = made * (1 + 0.01 * torch.rand_like(made))
            self.passed = made.square().mean()
        return made

    def penalty(self) -> Tensor:
        return self.passed


class Halves(nn.Module):
    """The larger of each two neighbouring units, the other zero: what a layer of local winners does."""

    def forward(self, net: Tensor) -> Tensor:
        pairs = net.unflatten(1, (-1, 2))
        return torch.where(pairs == pairs.amax(2, keepdim=True), pairs, 0).flatten(1, 2)


def shape_for(name: str) -> tuple[int, int, int]:
    return (1, 28, 28) if name in GREY_ONLY else (3, 32, 32)


@functools.cache
def built(name: str) -> tuple[nn.Module, list[Place], list[Place]]:
    """A body, its activations as they were made, and the list that they join when they are met."""
    made: list[Place] = []
    met: list[Place] = []

    def activation() -> Place:
        made.append(Place(met))
        return made[-1]

    with seeded(0, torch.device("cpu")):
        return load("architecture", name)(shape_for(name), activation).double(), made, met


def images_for(name: str, count: int) -> Tensor:
    return torch.rand(count, *shape_for(name), dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", names("architecture"))
def test_activations_are_made_once_per_place_in_the_order_in_which_an_image_meets_them(name):
    body, made, met = built(name)
    met.clear()
    with torch.no_grad():
        body.eval()(images_for(name, 1))
    position = {id(place): number for number, place in enumerate(made)}
    assert [position[id(place)] for place in met] == list(range(len(made)))
    assert [layer for layer in body.modules() if isinstance(layer, Place)] == made


@pytest.mark.parametrize("name", names("architecture"))
def test_features_are_rows_of_the_width_and_do_not_depend_on_the_batch(name):
    body, *_ = built(name)
    images = images_for(name, 3)
    with torch.no_grad():
        together = body.eval()(images)
        apart = torch.cat([body(images[:1]), body(images[1:])])
    assert together.shape == (3, body.width)
    assert together.dtype == torch.float64
    assert (apart - together).abs().max() < 1e-10 * together.abs().max()


@pytest.mark.parametrize("name", sorted(set(names("architecture")) - {"resnet101"}))
def test_activations_may_have_weights_noise_and_penalties(name):
    body, made, _ = built(name)
    images = images_for(name, 2)
    features = body.train()(images)
    loss = features.square().mean() + torch.stack([place.penalty() for place in made]).sum()
    gradients = torch.autograd.grad(loss, [place.slope for place in made])
    assert all(gradient.isfinite() for gradient in gradients)
    assert all(gradient.abs() > 0 for gradient in gradients)


@pytest.mark.parametrize("name", sorted(set(names("architecture")) - {"resnet101"}))
def test_every_layer_can_be_split_into_pairs_of_units(name):
    with torch.device("meta"):
        body = load("architecture", name)(shape_for(name), Halves)
        assert body(torch.rand(2, *shape_for(name))).shape == (2, body.width)


@pytest.mark.parametrize("name", names("architecture"))
def test_what_was_made_for_relu_stays_in_the_body(name):
    made: list[nn.Module] = []

    def activation() -> nn.Module:
        made.append(relu())
        return made[-1]

    with torch.device("meta"):
        body = load("architecture", name)(shape_for(name), activation)
    assert [layer for layer in body.modules() if isinstance(layer, nn.ReLU)] == made
    assert any(isinstance(layer, nn.ReLU6) for layer in body.modules()) == (name in RELU6)
