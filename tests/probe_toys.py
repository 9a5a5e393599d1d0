"""Toy networks with hidden layers to look into, and a harness that calls a probe as the core does."""

import torch
from attack_toys import SHAPE, Toy, seeded
from torch import nn

from tasks import noise as noise_source
from tasks import registry
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.intact import intact
from tasks.metrics import frozen
from tasks.streams import Streams


class Capped(nn.Module):
    """max(0, min(x, cap)); below 0 and above the cap it is saturated, between them linear."""

    def __init__(self, cap: float = torch.inf) -> None:
        super().__init__()
        self.cap = cap

    def forward(self, net):
        return net.clamp(0, self.cap)

    def regimes(self, net):
        linear = (net > 0) & (net < self.cap)
        return linear, ~linear


class Deep(Toy):
    """A body with activations."""

    def __init__(self, *layers: nn.Module, channels: int = 1, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__(nn.Sequential(*layers), mean, std, channels)
        self.activations = [layer for layer in layers if not isinstance(layer, nn.Linear | nn.Conv2d | nn.Flatten)]
        self.double()


class Wobbly(Deep):
    """Each draw adds noise to the image."""

    stochastic = True

    def forward(self, images):
        return super().forward(images + 0.1 * noise_source.normal(images))


def deep_net(num_classes=4, shape=SHAPE, kind=Deep, activation=Capped) -> Deep:
    layers = [
        nn.Conv2d(shape[0], 4, 3, padding=1), activation(), nn.Flatten(),
        nn.Linear(4 * shape[1] * shape[2], 12), activation(), nn.Linear(12, num_classes),
    ]  # fmt: skip
    model = kind(*layers, channels=shape[0], mean=0.3, std=0.4)
    with torch.no_grad():
        for parameter in model.body.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(1)) / 4)
    return model


def weighted(weight, bias=None) -> nn.Linear:
    """A linear layer of these weights."""
    weight = torch.as_tensor(weight, dtype=torch.float64)
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.zeros(len(weight)) if bias is None else torch.as_tensor(bias, dtype=torch.float64))
    return layer


def measured(
    name, model, images, labels=None, *, samples=None, batch_size=64, fixed_batch=None, num_classes=None, source=None,
    **parameters,
):  # fmt: skip
    """The probe's values by layer and measure, over all batches."""
    if labels is None:
        with torch.no_grad():
            labels = model(images).argmax(1)
    if num_classes is None:
        num_classes = model(torch.zeros_like(images[:1])).shape[1]
    samples = torch.arange(len(images)) + 100 if samples is None else samples
    probe, parts = registry.load("probe", name), []
    sourced = registry.describe("probe", name).facts.sourced
    with frozen(model), intact(model, name):
        for start in range(0, max(len(images), 1), batch_size):
            part = slice(start, start + batch_size)
            streams = Streams("one key", samples[part])
            how = {"num_classes": num_classes, "noise": streams, "fixed_batch": fixed_batch}
            counted = CountedModel(model, samples[part], Budget("l2", None), **how)
            looked_at = counted if source is None else CountedModel(source, samples[part], Budget("l2", None), **how)
            given = [counted, images[part].clone(), labels[part], streams, *([looked_at] if sourced else [])]
            parts.append(probe(*given, **parameters))
            counted.check()
    heads = [[(measure.layer, measure.name, measure.values.shape[1:]) for measure in part] for part in parts]
    assert all(head == heads[0] for head in heads)
    assert len(set(heads[0])) == len(heads[0])
    return {
        (same[0].layer, same[0].name): torch.cat([measure.values for measure in same])
        for same in zip(*parts, strict=True)
    }


def assert_same(found, due):
    """Far beyond float32's last place; float64 sums round differently in batches of another size."""
    assert list(found) == list(due)
    for key, values in due.items():
        assert torch.allclose(found[key].double(), values.double(), rtol=1e-10, atol=1e-13, equal_nan=True), key
