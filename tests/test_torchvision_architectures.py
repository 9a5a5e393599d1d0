"""Architectures for colour images: published parameter counts, torchvision's numbers, every activation in its place."""

import copy
from collections.abc import Callable
from itertools import count

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.inception import InceptionAux

from tasks.activations.relu import relu
from tasks.architectures import inception_v3 as inception_module
from tasks.architectures._torchvision import load_imagenet
from tasks.architectures.cnn_small import cnn_small
from tasks.architectures.densenet169 import densenet169
from tasks.architectures.inception_v3 import inception_v3
from tasks.architectures.mobilenet_v2 import mobilenet_v2
from tasks.architectures.resnet50 import resnet50
from tasks.architectures.resnet101 import resnet101
from tasks.architectures.resnet_small import BasicBlock, resnet_small
from tasks.architectures.vgg16 import VGG16, vgg16
from tasks.heads.softmax import softmax
from tasks.model import seeded
from tasks.types import TaskError

CIFAR = (3, 32, 32)
LARGE = (3, 80, 80)
TORCHVISION = {
    "resnet50": resnet50,
    "resnet101": resnet101,
    "densenet169": densenet169,
    "mobilenet_v2": mobilenet_v2,
    "inception_v3": inception_v3,
    "vgg16": vgg16,
}
BODIES = {**TORCHVISION, "resnet_small": resnet_small, "cnn_small": cnn_small}
CPU = torch.device("cpu")


def num_parameters(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def built(name: str, activation: Callable[[], nn.Module] = relu, **parameters: object) -> nn.Module:
    """A body for 32x32 images, always the same."""
    with seeded(0, CPU):
        return BODIES[name](CIFAR, activation, **parameters)


def small_images(name: str, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    side = 32 if name in {"vgg16", "cnn_small"} else 16
    return torch.rand(count, 3, side, side, dtype=dtype)


def on_meta(name: str, **parameters: object) -> nn.Module:
    """Shapes without numbers."""
    with torch.device("meta"):
        return BODIES[name](LARGE, relu, **parameters)


@pytest.mark.parametrize(
    ("name", "cifar", "imagenet"),
    [
        ("resnet50", 23_520_842, 25_557_032),
        ("resnet101", 42_512_970, 44_549_160),
        ("densenet169", 12_493_450, 14_149_480),
        ("mobilenet_v2", 2_236_682, 3_504_872),
        ("inception_v3", 21_638_954, 27_161_264),
        ("vgg16", 33_638_218, 138_357_544),
    ],
)
def test_body_and_softmax_head_have_the_published_number_of_parameters(name, cifar, imagenet):
    body = on_meta(name)
    assert num_parameters(body, softmax(body.width, 10)) == cifar
    large = on_meta(name, stem="imagenet")
    auxiliary = [InceptionAux(768, 1000)] if name == "inception_v3" else []
    assert num_parameters(large, softmax(large.width, 1000), *auxiliary) == imagenet


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_body_computes_what_torchvision_computes_with_the_same_weights(name):
    torch.manual_seed(0)
    more = {"aux_logits": False, "init_weights": False} if name == "inception_v3" else {}
    theirs = getattr(torchvision.models, name)(num_classes=3, **more).eval()
    ours = on_meta(name, stem="imagenet").eval()
    weights = theirs.state_dict()
    ours.load_state_dict({key: weights[key] for key in ours.state_dict()}, assign=True)
    last = [layer for layer in theirs.modules() if isinstance(layer, nn.Linear)][-1]
    images = torch.randn(2, *(LARGE if name == "inception_v3" else CIFAR))
    with torch.no_grad():
        assert torch.allclose(last(ours(images)), theirs(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "layers", "sides"),
    [
        ("resnet50", ["conv1", "maxpool", "layer1", "layer2", "layer3", "layer4"], [32, 16, 16, 8, 4, 2]),
        (
            "densenet169",
            [f"features.{layer}" for layer in ("conv0", "pool0", "denseblock1", "transition1", "denseblock3", "norm5")],
            [32, 16, 16, 8, 4, 2],
        ),
        ("mobilenet_v2", [f"features.{index}" for index in (0, 1, 2, 4, 7, 11, 14, 18)], [32, 32, 32, 16, 8, 8, 4, 4]),
        ("inception_v3", ["Conv2d_1a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"], [32, 32, 15, 7]),
        ("vgg16", [f"features.{index}" for index in (0, 4, 9, 16, 23, 30)], [32, 16, 8, 4, 2, 1]),
        ("resnet_small", ["0", "3", "4", "5"], [32, 32, 16, 8]),
        ("cnn_small", ["0", "2", "5", "8"], [32, 16, 8, 4]),
    ],
)
def test_the_side_of_a_small_image_shrinks_as_in_the_study(name, layers, sides):
    body, seen = on_meta(name) if name in TORCHVISION else built(name), []
    modules = dict(body.named_modules())
    for layer in layers:
        modules[layer].register_forward_hook(lambda _, __, made: seen.append(made.shape[-1]))
    body.eval()(torch.zeros(1, *CIFAR, device=next(body.parameters()).device))
    assert seen == sides


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("resnet50", 1 + 16 * 3),
        ("resnet101", 1 + 33 * 3),
        ("densenet169", 1 + 82 * 2 + 3 + 1),
        ("mobilenet_v2", 1 + (1 + 16 * 2) + 1),
        ("inception_v3", 1 + 3 * 7 + 4 + 4 * 10 + 6 + 2 * 9),
        ("vgg16", 13 + 2),
        ("resnet_small", 1 + 3 * 2),
        ("cnn_small", 3 + 1),
    ],
)
def test_every_place_has_an_activation_of_its_own_which_is_used_once(name, places):
    used = []
    numbers = count()

    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.number = next(numbers)

        def forward(self, features: Tensor) -> Tensor:
            used.append(self.number)
            return torch.tanh(features)

    body = built(name, Counted).eval()
    body(small_images(name, 1))
    assert len(used) == len(set(used)) == places
    assert not any(isinstance(layer, nn.ReLU | nn.ReLU6) for layer in body.modules())


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet_small", "resnet50"])
def test_in_float64_an_image_alone_has_the_features_it_has_among_others(name):
    body = built(name).double().eval()
    images = small_images(name, 3, torch.float64)
    with torch.no_grad():
        together, alone = body(images), torch.cat([body(image[None]) for image in images])
    assert (alone - together).abs().max() < 1e-10 * together.abs().max()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("resnet50", (1, 32, 32), "resnet50 takes images of 3 channels and sides of 16 or more, not"),
        ("resnet101", (3, 32, 8), "sides of 16 or more"),
        ("densenet169", (3, 15, 32), "sides of 16 or more"),
        ("mobilenet_v2", (1, 28, 28), "3 channels"),
        ("inception_v3", (3, 8, 8), "sides of 16 or more"),
        ("vgg16", (3, 28, 28), "sides of 32 or more"),
        ("cnn_small", (3, 7, 32), "sides of 8 or more"),
    ],
)
def test_images_that_do_not_fit_are_refused(name, shape, message):
    with pytest.raises(ValueError, match=message):
        BODIES[name](shape, relu)


@pytest.mark.parametrize(("name", "side"), [("resnet50", 16), ("densenet169", 16), ("inception_v3", 16), ("vgg16", 32)])
def test_the_smallest_images_that_fit_pass(name, side):
    body = BODIES[name]((3, side, side), relu).eval()
    assert body(torch.rand(1, 3, side, side)).shape == (1, body.width)


def test_mobilenet_clips_relu_at_6_unless_told_not_to_and_leaves_others_alone():
    def kinds(**parameters: object) -> set[type[nn.Module]]:
        places = (built("mobilenet_v2", **parameters).features[index][-1] for index in (0, 18))
        return {type(place) for place in places}

    assert kinds() == {nn.Sequential}
    clipped = built("mobilenet_v2").features[0][-1]
    assert [type(part) for part in clipped] == [type(relu()), nn.ReLU6]
    assert torch.equal(clipped(torch.tensor([-1.0, 2.0, 7.0])), torch.tensor([0.0, 2.0, 6.0]))
    assert kinds(relu6=False) == {type(relu())}
    assert kinds(activation=nn.ELU) == {nn.ELU}


def test_the_dropout_rate_is_a_parameter():
    for name in ("mobilenet_v2", "inception_v3", "vgg16", "cnn_small"):
        layers = [layer for layer in built(name, dropout=0.125).modules() if isinstance(layer, nn.Dropout)]
        assert {layer.p for layer in layers} == {0.125}


@pytest.mark.parametrize("side", [32, 64, 224])
def test_the_grid_of_vgg_is_torchvisions_pooling_in_value_and_gradient(side):
    with torch.device("meta"):
        body = VGG16(relu, 7, 0.0)
    body.features = nn.Identity()
    body.classifier = nn.Identity()
    fields = torch.rand(2, 4, side // 32, side // 32, dtype=torch.float64, requires_grad=True)
    expected = nn.AdaptiveAvgPool2d(7)(fields).flatten(1)
    found = body(fields)
    weights = torch.rand_like(found)
    assert torch.equal(found, expected)
    gradients = [torch.autograd.grad((made * weights).sum(), fields)[0] for made in (found, expected)]
    assert torch.allclose(*gradients, rtol=1e-12)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch's folder of downloaded weights, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_pretrained_weights_are_torchvisions_but_for_the_last_layer(hub):
    torch.manual_seed(0)
    theirs = torchvision.models.mobilenet_v2().eval()
    torch.save(theirs.state_dict(), hub / "mobilenet_v2-b0353104.pth")
    ours = mobilenet_v2(LARGE, relu, stem="imagenet", pretrained=True).eval()
    images = torch.randn(2, *LARGE)
    with torch.no_grad():
        assert torch.allclose(theirs.classifier[1](ours(images)), theirs(images), rtol=1e-5, atol=1e-6)


def test_names_in_the_weights_of_densenet_may_have_the_dots_of_its_day(hub):
    state = torchvision.models.densenet169().state_dict()
    dotted = {key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value for key, value in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in dotted
    torch.save(dotted, hub / "densenet169-b2777c0a.pth")
    ours = densenet169(LARGE, relu, stem="imagenet", pretrained=True)
    assert all(torch.equal(state[key], value) for key, value in ours.state_dict().items())


def test_pretrained_inception_gets_the_scale_of_its_training(monkeypatch):
    monkeypatch.setattr(inception_module, "load_imagenet", lambda *_: None)
    with torch.device("meta"):
        assert inception_v3(LARGE, relu, stem="imagenet", pretrained=True).transform_input
        assert not inception_v3(LARGE, relu, stem="imagenet").transform_input


def test_weights_that_lack_a_layer_are_refused(hub):
    state = torchvision.models.mobilenet_v2().state_dict()
    del state["features.3.conv.0.0.weight"]
    torch.save(state, hub / "mobilenet_v2-b0353104.pth")
    with pytest.raises(RuntimeError, match=r"Missing key.*features.3.conv.0.0.weight"):
        mobilenet_v2(LARGE, relu, stem="imagenet", pretrained=True)


def test_weights_are_never_unpickled(hub):
    torch.save({"features": copy.copy}, hub / "mobilenet_v2-b0353104.pth")
    with pytest.raises(Exception, match="Weights only load failed"):
        mobilenet_v2(LARGE, relu, stem="imagenet", pretrained=True)


@pytest.mark.parametrize("name", TORCHVISION)
def test_pretrained_weights_need_the_stem_they_were_trained_with(name):
    with torch.device("meta"), pytest.raises(TaskError, match="are for the stem imagenet, not cifar"):
        TORCHVISION[name](LARGE, relu, pretrained=True)


def test_a_failed_download_says_whose_weights_are_missing():
    class Unreachable:
        def get_state_dict(self, **_: object) -> dict[str, Tensor]:
            raise OSError("<urlopen error no route to host>")

        def __str__(self) -> str:
            return "Some_Weights.V1"

    with pytest.raises(TaskError, match=r"the download of Some_Weights.V1 failed: <urlopen error no route to host>"):
        load_imagenet(nn.Identity(), Unreachable(), "imagenet")


@pytest.mark.parametrize(("blocks", "expected"), [(1, 75_290), (3, 269_722), (9, 853_018)])
def test_small_resnets_have_the_parameters_of_their_paper(blocks, expected):
    # He et al. (2016), table 6, in millions: ResNet-20 0.27, ResNet-56 0.85.
    body = resnet_small(CIFAR, relu, blocks=blocks)
    assert num_parameters(body, softmax(body.width, 10)) == expected
    assert sum(isinstance(layer, nn.Conv2d) for layer in body.modules()) + 1 == 6 * blocks + 2


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 9), (5, 4, 4)])
def test_a_small_resnet_takes_images_of_any_shape(shape):
    body = resnet_small(shape, relu, width=4)
    assert body(torch.rand(2, *shape)).shape == (2, 16)


def test_the_shortcut_of_a_block_skips_pixels_and_adds_channels_of_zeros():
    block = BasicBlock(2, 4, 2, nn.Identity).eval()
    for layer in block.inner:
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
    features = torch.rand(1, 2, 5, 5)
    made = block(features)
    assert torch.equal(made[:, :2], features[:, :, ::2, ::2])
    assert torch.equal(made[:, 2:], torch.zeros(1, 2, 3, 3))


def test_the_small_cnn_has_the_parameters_worked_out_by_hand():
    assert num_parameters(built("cnn_small")) == 896 + 18_496 + 36_928 + (1024 * 128 + 128)
    body = cnn_small((1, 28, 20), relu, channels=[4, 8, 8], dense=[6])
    assert num_parameters(body) == 40 + 296 + 584 + (8 * 3 * 2 * 6 + 6)
    assert body(torch.rand(2, 1, 28, 20)).shape == (2, 6)
