"""Toy networks with hidden layers to look into, and a harness that calls a probe as the core does."""

import torch
from torch import nn

from tasks.contracts import probing
from tasks.contracts.subject import Subject
from tasks.contracts.toys import Capped, Deep, Wobbly, deep_net
from tasks.intact import intact

__all__ = ["Capped", "Deep", "Wobbly", "assert_same", "deep_net", "measured", "weighted"]


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
    how = {"samples": samples, "batch_size": batch_size, "fixed_batch": fixed_batch, "num_classes": num_classes}
    subject = Subject("probe", name, parameters)
    return probing.measured(subject, model, images, labels, source=source, held=lambda held: intact(held, name), **how)


def assert_same(found, due):
    """Far beyond float32's last place; float64 sums round differently in batches of another size."""
    assert list(found) == list(due)
    for key, values in due.items():
        assert torch.allclose(found[key].double(), values.double(), rtol=1e-10, atol=1e-13, equal_nan=True), key
