"""The weight matrices of a classifier: which layers have one, and how far they are from orthonormal."""

import torch
from torch import Tensor, nn

from tasks.model import Classifier


def weighted_layers(model: Classifier) -> list[nn.Conv2d | nn.Linear]:
    """The linear layers and convolutions of body and head, in the order in which they are registered."""
    layers = [*model.body.modules(), *model.head.modules()]
    return [layer for layer in layers if isinstance(layer, nn.Conv2d | nn.Linear)]


def gram_penalty(model: Classifier, beta: float) -> Tensor:
    """The sum over layers of |W^T W - I|_F^2, times beta / 2: a scalar.

    A convolution's W is (out, in k k), its patches in rows. Where W is wider than high, W W^T is taken instead: W^T W
    has more columns than it can have independent ones, so that its distance is larger by their number, a constant. The
    gradient is the same either way, and the smaller product's distance can become 0.
    """
    distances = [_gram_distance(layer.weight.flatten(1)) for layer in weighted_layers(model)]
    return torch.stack(distances).sum() * (beta / 2)


def _gram_distance(matrix: Tensor) -> Tensor:
    rows, columns = matrix.shape
    gram = matrix @ matrix.T if rows < columns else matrix.T @ matrix
    return (gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).square().sum()
