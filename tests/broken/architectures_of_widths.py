"""Architectures that say how many units there are at their activations: one that is right, and one that is not."""

from broken.architectures import Body
from broken.mark import keeps
from tasks.registry import component


@keeps
@component("architecture", version=1)
def good_with_widths(shape, activation):
    """A perceptron that says how many units there are at its activation."""
    return Body(shape, activation())


def widths():
    return [8]
