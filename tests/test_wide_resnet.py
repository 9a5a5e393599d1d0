"""Wide residual networks and small CNNs: counts of the paper, what a block computes, layers as asked for."""

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, conv2d, relu

from tasks.architectures.cnn_small import cnn_small
from tasks.architectures.wide_resnet import WideBlock, wide_resnet
from tasks.types import TaskError

CIFAR = (3, 32, 32)


def num_parameters(body: nn.Module) -> int:
    return sum(parameter.numel() for parameter in body.parameters())


def with_head(depth: int, widen: int) -> tuple[nn.Module, int]:
    """A body without numbers, and its parameters with those of a head for ten classes."""
    with torch.device("meta"):
        body = wide_resnet(CIFAR, nn.ReLU, depth=depth, widen=widen)
    return body, num_parameters(body) + 10 * (body.width + 1)


@pytest.mark.parametrize(
    ("depth", "widen", "millions"),
    [
        *((40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (40, 8, 35.7), (28, 10, 36.5), (28, 12, 52.5)),
        *((22, 8, 17.2), (22, 10, 26.8), (16, 8, 11.0), (16, 10, 17.1)),
    ],
)
def test_the_number_of_parameters_is_that_of_the_paper(depth, widen, millions):
    # Zagoruyko and Komodakis (2016), table 4.
    assert round(with_head(depth, widen)[1] / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("depth", "widen", "expected"), [(34, 10, 46_160_474), (28, 10, 36_479_194), (34, 1, 466_714), (10, 2, 303_706)]
)
def test_the_number_of_parameters_is_that_worked_out_by_hand(depth, widen, expected):
    blocks, inputs, counted = (depth - 4) // 6, 16, 3 * 9 * 16
    for out in (16 * widen, 32 * widen, 64 * widen):
        first = 2 * inputs + 9 * inputs * out + 2 * out + 9 * out * out + (inputs * out if inputs != out else 0)
        counted += first + (blocks - 1) * (4 * out + 18 * out * out)
        inputs = out
    assert counted + 2 * inputs + 10 * (inputs + 1) == expected == with_head(depth, widen)[1]


@pytest.mark.parametrize(("depth", "widen", "without"), [(34, 1, 1), (34, 2, 0), (16, 4, 0)])
def test_the_depth_counts_convolutions_and_each_block_has_two_activations(depth, widen, without):
    body, _ = with_head(depth, widen)
    assert sum(isinstance(layer, nn.Conv2d) for layer in body.modules()) == depth - without
    assert sum(isinstance(layer, WideBlock) for layer in body) == (depth - 4) // 2
    assert sum(isinstance(layer, nn.ReLU) for layer in body.modules()) == depth - 4 + 1


def test_sides_go_32_16_8_and_the_width_is_that_of_the_last_stage():
    body, _ = with_head(16, 4)
    seen = []
    for layer in body:
        if isinstance(layer, WideBlock):
            layer.register_forward_hook(lambda _, __, made: seen.append(tuple(made.shape[1:])))
    assert body(torch.zeros(2, *CIFAR, device="meta")).shape == (2, 256)
    assert body.width == 256
    assert seen == [(64, 32, 32)] * 2 + [(128, 16, 16)] * 2 + [(256, 8, 8)] * 2


@pytest.mark.parametrize(("channels", "stride"), [(4, 1), (3, 1), (4, 2)])
def test_a_block_normalises_and_activates_before_it_convolves(channels, stride):
    torch.manual_seed(0)
    block = WideBlock(channels, 4, stride, 0.0, nn.ReLU).double().eval()
    first, second = block.inner[0].weight, block.inner[4].weight
    for layer in (block.before[0], block.inner[1]):
        for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            nn.init.uniform_(tensor, 0.5, 1.5)

    def normalised(features: torch.Tensor, layer: nn.BatchNorm2d) -> torch.Tensor:
        return batch_norm(features, layer.running_mean, layer.running_var, layer.weight, layer.bias)

    features = torch.randn(2, channels, 7, 7, dtype=torch.float64)
    activated = relu(normalised(features, block.before[0]))
    inner = conv2d(relu(normalised(conv2d(activated, first, None, stride, 1), block.inner[1])), second, None, 1, 1)
    if (channels, stride) == (4, 1):
        assert block.shortcut is None
        expected = inner + features
    else:
        expected = inner + conv2d(activated, block.shortcut.weight, None, stride)
    assert torch.allclose(block(features), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 9), (5, 4, 4), (3, 64, 64)])
def test_a_wide_resnet_takes_images_of_any_shape(shape):
    body = wide_resnet(shape, nn.ReLU, depth=10)
    assert body(torch.rand(2, *shape)).shape == (2, 64)


@pytest.mark.parametrize("depth", [4, 1, 33, 35, 20])
def test_a_depth_that_no_number_of_blocks_has_is_refused(depth):
    with pytest.raises(TaskError, match=rf"depth of 6 n \+ 4 \(10, 16, 22, 28, 34, 40, ...\), not {depth}"):
        wide_resnet(CIFAR, nn.ReLU, depth=depth)


def test_dropout_is_between_the_convolutions_of_every_block_and_only_in_training():
    body = wide_resnet(CIFAR, nn.ReLU, depth=16, dropout=0.3)
    drops = [layer.inner[3] for layer in body if isinstance(layer, WideBlock)]
    assert [drop.p for drop in drops] == [0.3] * 6
    images = torch.rand(2, *CIFAR)
    with torch.no_grad():
        assert not torch.equal(body(images), body(images))
        body.eval()
        assert torch.equal(body(images), body(images))


def test_a_small_cnn_has_the_layers_that_it_is_asked_for():
    body = cnn_small((3, 64, 64), nn.ReLU, channels=[8, 12], kernel=5, dense=[20, 10], dropout=0.5)
    kinds = [nn.Conv2d, nn.ReLU, nn.MaxPool2d] * 2 + [nn.Flatten, nn.Dropout] + [nn.Linear, nn.ReLU] * 2
    assert [type(layer) for layer in body] == kinds
    convolutions = (75 * 8 + 8) + (25 * 8 * 12 + 12)
    assert num_parameters(body) == convolutions + (12 * 16 * 16 * 20 + 20) + (20 * 10 + 10)
    assert body(torch.rand(2, 3, 64, 64)).shape == (2, 10)


@pytest.mark.parametrize(
    ("shape", "channels", "dense", "width"),
    [
        ((1, 28, 28), [4], [], 4 * 14 * 14),
        ((3, 32, 32), [], [5], 5),
        ((3, 4, 5), [2, 3], [], 3),
        ((1, 2, 2), [], [], 4),
    ],
)
def test_a_small_cnn_may_do_without_dense_layers_or_convolutions(shape, channels, dense, width):
    body = cnn_small(shape, nn.ReLU, channels=channels, dense=dense)
    assert body.width == width
    assert body(torch.rand(2, *shape)).shape == (2, width)


def test_images_that_have_no_pixel_left_after_the_poolings_are_refused():
    with pytest.raises(ValueError, match=r"cnn_small takes images with sides of 16 or more, not \(3, 15, 32\)"):
        cnn_small((3, 15, 32), nn.ReLU, channels=[4, 4, 4, 4])
