"""Adversarial images for a training batch, at little more than the price of the model's own passes.

An attack on a grid is made to be judged: it looks for the weakest point of every image and stops image by image. Here
the whole batch makes the same number of steps and the last point counts, so that nothing waits for a device. Images are
pixels in [0, 1] of any float type. Knows nothing of optimisers; the parameters' gradients stay as they are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from tasks import penalties
from tasks.metrics import length_of, rowwise
from tasks.model import Classifier
from tasks.training.objective import Craft, Defense, mean_loss
from tasks.types import Images, Labels, Scores

Norm: TypeAlias = Literal["linf", "l2"]
Losses: TypeAlias = Callable[[Scores], Tensor]
"""What is climbed: from scores to one loss for each image, (batch,)."""


def adversarial(craft: Craft, clean: float) -> Defense:
    """Training on crafted images, or on clean * (mean loss of the clean images) + (1 - clean) * (of the crafted ones).

    The scores are those of the crafted images. With a share above 0 the defense has its own loss, and a batch makes two
    passes, so that a batch normalisation sees clean and crafted images apart.
    """
    if clean == 0:
        return Defense(craft=craft)
    if clean == 1:
        return Defense()

    def loss(model: Classifier, images: Images, labels: Labels) -> tuple[Tensor, Scores]:
        crafted, scores = mean_loss(model, craft(model, images, labels), labels)
        return clean * mean_loss(model, images, labels)[0] + (1 - clean) * crafted, scores

    return Defense(loss=loss)


def fgsm(model: Classifier, images: Images, labels: Labels, length: float) -> Images:
    """One step of `length` along the sign of the loss's gradient, in the box."""
    with evaluating(model):
        gradient = _gradient(model, images, lambda scores: model.losses(scores, labels))
    return torch.add(images, gradient.sign(), alpha=length).clamp_(0, 1)


def pgd(
    model: Classifier,
    images: Images,
    labels: Labels,
    *,
    norm: Norm,
    eps: float,
    steps: int,
    alpha: float,
    random_start: bool,
) -> Images:
    """`steps` steps of length `alpha` up the loss, from the images or from uniform points of the ball."""
    start = uniform(images, norm, eps) if random_start else images

    def losses(scores: Scores) -> Tensor:
        return model.losses(scores, labels)

    return ascend(model, images, start, losses, norm=norm, eps=eps, steps=steps, alpha=alpha)


def ascend(
    model: Classifier,
    images: Images,
    start: Images,
    losses: Losses,
    *,
    norm: Norm,
    eps: float,
    steps: int,
    alpha: float,
) -> Images:
    """The last point of a climb from `start`, in the eps-ball around `images` and in the box."""
    clip = _clipper(images, norm, eps)
    points = clip(start.clone())
    with evaluating(model):
        for _ in range(steps):
            gradient = _gradient(model, points, losses)
            if norm == "linf":
                points.add_(gradient.sign(), alpha=alpha)
            else:
                points.addcmul_(gradient, rowwise(alpha / length_of(gradient), gradient))
            points = clip(points)
    return points


def uniform(images: Images, norm: Norm, eps: float) -> Images:
    """Points drawn uniformly from the ball around each image, with torch's own generator; not yet in the box."""
    if norm == "linf":
        return torch.empty_like(images).uniform_(-eps, eps).add_(images)
    direction = torch.randn_like(images)
    length = eps * torch.rand_like(images[:, 0, 0, 0]) ** (1 / images[0].numel())
    return direction.mul_(rowwise(length / length_of(direction), images)).add_(images)


def step_length(alpha: float | None, eps: float, steps: int) -> float:
    """`alpha`, or 2.5 eps / steps, with which a climb can reach every point of the ball and turn there."""
    return 2.5 * eps / steps if alpha is None else alpha


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and no penalty counted; what was in training mode is so again afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with penalties.counted(whether=False):
            yield
    finally:
        for module in training:
            module.training = True


def full(scores: Scores) -> Scores:
    """Scores in float32, if autocast made them in less."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _gradient(model: Classifier, points: Images, losses: Losses) -> Tensor:
    """The gradient of each image's loss by the image; none by the parameters, which stay out of the backward pass."""
    with torch.enable_grad():
        leaf = points.detach().requires_grad_()
        risen = losses(full(model(leaf)))
    # Ones for each loss instead of their sum: two operations fewer, which a small model notices.
    (gradient,) = torch.autograd.grad(risen, leaf, torch.ones_like(risen))
    return gradient


def _clipper(images: Images, norm: Norm, eps: float) -> Callable[[Images], Images]:
    """What brings points, which it may change in place, to the nearest of the ball, and then of the box."""
    if norm == "linf":
        low, high = (images - eps).clamp_(min=0), (images + eps).clamp_(max=1)
        return lambda points: points.clamp_(low, high)
    return lambda points: points.sub_(images).renorm_(2, 0, eps).add_(images).clamp_(0, 1)
