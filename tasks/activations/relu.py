"""The rectifier."""

from torch import nn

from tasks.registry import component


@component("activation", version=1, paper="https://icml.cc/Conferences/2010/papers/432.pdf")
def relu() -> nn.Module:
    """max(x, 0), elementwise. The gradient at 0 is 0."""
    return nn.ReLU()
