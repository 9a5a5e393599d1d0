"""How layers start where a cell asks for another start than torch's. Knows nothing of cells or seeds."""

from torch import nn
from torch.nn.modules.conv import _ConvNd

LAYERS = (nn.Linear, _ConvNd)
"""The layers that are drawn anew; what else has weights, such as a normalisation or a head of centres, keeps them."""


def draw_glorot_uniform(model: nn.Module) -> None:
    """Draw the linear and convolution layers of a model anew as Keras does by default, in the order of its modules.

    Weights are uniform in +-sqrt(6 / (fan_in + fan_out)), equation 16 of Glorot and Bengio 2010
    (https://proceedings.mlr.press/v9/glorot10a.html), biases zero. torch's own layers draw both uniformly in
    +-1 / sqrt(fan_in) instead. Draws from torch's default generator.
    """
    for layer in model.modules():
        if isinstance(layer, LAYERS):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
