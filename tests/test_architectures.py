"""Architectures: shapes and parameter counts worked out by hand, and what dropout drops."""

import pytest
import torch
from torch import nn

from tasks.activations.relu import relu
from tasks.architectures.cnn_2conv import cnn_2conv
from tasks.architectures.cnn_4conv import cnn_4conv
from tasks.architectures.mlp import mlp

GREY = (1, 28, 28)


def num_parameters(body: nn.Module) -> int:
    return sum(parameter.numel() for parameter in body.parameters())


@pytest.mark.parametrize(
    ("body", "shape", "width", "expected"),
    [
        (mlp((1, 8, 8), relu, hidden=[64, 32]), (1, 8, 8), 32, (64 * 64 + 64) + (64 * 32 + 32)),
        (mlp((3, 4, 5), relu, hidden=[]), (3, 4, 5), 60, 0),
        (mlp(GREY, relu), GREY, 256, 784 * 256 + 256),
        (cnn_4conv(GREY, relu), GREY, 64, 160 + 4_640 + 9_248 + 18_496),
        (cnn_2conv(GREY, relu), GREY, 120, (320 + 64) + (18_496 + 128) + 1_383_000 + 72_120),
    ],
)
def test_a_body_has_the_shape_and_the_parameters_worked_out_by_hand(body, shape, width, expected):
    assert body(torch.rand(3, *shape)).shape == (3, width)
    assert body.width == width
    assert num_parameters(body) == expected


@pytest.mark.parametrize("architecture", [cnn_4conv, cnn_2conv])
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 28, 28), (1, 28, 27)])
def test_images_of_another_shape_are_refused(architecture, shape):
    with pytest.raises(ValueError, match=rf"takes images of shape \(1, 28, 28\), not \({shape[0]}, "):
        architecture(shape, relu)


@pytest.mark.parametrize(("architecture", "places"), [(mlp, 1), (cnn_4conv, 4), (cnn_2conv, 2)])
def test_every_place_has_an_activation_of_its_own(architecture, places):
    made = []

    def activation() -> nn.Module:
        made.append(nn.Tanh())
        return made[-1]

    body = architecture(GREY, activation)
    assert [layer for layer in body.modules() if isinstance(layer, nn.Tanh)] == made
    assert len(made) == places


def test_the_side_of_the_image_shrinks_as_published():
    sides = []
    body = cnn_4conv(GREY, relu)
    for layer in body:
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            layer.register_forward_hook(lambda _, __, made: sides.append(made.shape[-1]))
    body(torch.rand(1, *GREY))
    assert sides == [26, 13, 11, 5, 3, 1]


def test_the_linear_layers_of_cnn_2conv_have_no_nonlinearity_between_them():
    tail = nn.Sequential(*list(cnn_2conv(GREY, relu))[8:]).eval()
    assert isinstance(tail[0], nn.Flatten)
    first, second = torch.randn(2, 5, 64, 6, 6).double()
    tail.double()
    difference = tail(first + second) + tail(torch.zeros_like(first)) - tail(first) - tail(second)
    assert difference.abs().max() < 1e-12


def test_cnn_4conv_drops_half_the_channels_in_training_and_none_in_evaluation():
    torch.manual_seed(0)
    drop = next(layer for layer in cnn_4conv(GREY, relu) if isinstance(layer, nn.Dropout2d))
    values = torch.ones(500, 64, 2, 2)
    dropped = drop.train()(values)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropped.amax(dim=(2, 3)), dropped.amin(dim=(2, 3)))
    assert dropped.mean().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(drop.eval()(values), values)


def test_cnn_2conv_drops_units_one_by_one_and_not_whole_images():
    torch.manual_seed(0)
    drop = next(layer for layer in cnn_2conv(GREY, relu) if isinstance(layer, nn.Dropout))
    shares = (drop.train()(torch.ones(200, 600)) == 0).float().mean(dim=1)
    assert shares.mean().item() == pytest.approx(0.25, abs=0.01)
    assert 0.1 < shares.min().item() < shares.max().item() < 0.4


def test_the_dropout_rate_is_a_parameter():
    for architecture in (cnn_4conv, cnn_2conv):
        body = architecture(GREY, relu, dropout=0.0).train()
        images = torch.rand(4, *GREY)
        assert torch.equal(body(images), body(images))


def test_relu_is_zero_below_zero():
    assert relu()(torch.tensor([-1.0, 0.0, 2.0])).tolist() == [0, 0, 2]
