"""An architecture that says wrongly how many units there are at its activations."""

from broken.architectures import Body
from broken.mark import breaks
from tasks.registry import component


@breaks("knows_its_widths")
@component("architecture", version=1)
def misjudges_its_activations(shape, activation):
    """It says that there are nine units at its activation, of which there are eight."""
    return Body(shape, activation())


def widths():
    return [9]
