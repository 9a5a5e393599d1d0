"""Training that flattens the loss around the images: double backpropagation."""

from typing import Literal

import torch
from torch import Tensor

from tasks.model import Classifier
from tasks.parameters import Positive
from tasks.registry import component
from tasks.training.objective import Defense
from tasks.types import Images, Labels, Scores


@component("defense", version=1, paper="https://arxiv.org/abs/1711.09404", loss=True)
def gradient_regularisation(*, strength: Positive = 1.0, norm: Literal["l2", "l1"] = "l2") -> Defense:
    """A penalty on the loss's gradient in the pixels.

    Each image's loss L plus `strength` times sum_d (dL / dx_d)^2, x in pixels in [0, 1], and of these the mean over the
    batch: Ross and Doshi-Velez (2018), "Improving the Adversarial Robustness and Interpretability of Deep Neural
    Networks by Regularizing their Input Gradients". They sum both terms over the images, so `strength` is their lambda,
    which they choose for each dataset. The norm "l1" sums |dL / dx_d| instead. One forward pass serves both terms; a
    batch costs a second backward pass. Under batch normalisation an image's gradient is that of the whole batch's loss.
    """

    def loss(model: Classifier, images: Images, labels: Labels) -> tuple[Tensor, Scores]:
        images = images.detach().requires_grad_()
        scores = model(images)
        losses = model.losses(scores, labels)
        (gradient,) = torch.autograd.grad(losses.sum(), images, create_graph=True)
        sizes = gradient.square() if norm == "l2" else gradient.abs()
        return losses.mean() + strength * sizes.flatten(1).sum(1).mean(), scores

    return Defense(loss=loss)
