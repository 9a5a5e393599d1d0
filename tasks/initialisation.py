"""How layers start where a cell asks for another start than torch's. Knows nothing of cells or seeds."""

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import is_parametrized

from tasks.types import ModelError

LAYERS = (nn.Linear, _ConvNd)
"""The layers that are drawn anew; what else has weights, such as a normalisation or a head of centres, keeps them."""


def draw_glorot_uniform(model: nn.Module) -> None:
    """Draw the linear and convolution layers of a model anew as Keras does by default, in the order of its modules.

    Weights are uniform in +-sqrt(6 / (fan_in + fan_out)), equation 16 of Glorot and Bengio 2010
    (https://proceedings.mlr.press/v9/glorot10a.html), biases zero. torch's own layers draw both uniformly in
    +-1 / sqrt(fan_in) instead. Draws from torch's default generator. Raises ModelError where a layer's weights are
    computed from others, as those of a weight normalisation are.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, LAYERS):
            if is_parametrized(layer):
                raise ModelError(f"glorot_uniform: the weights of {name} are computed from others")
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
