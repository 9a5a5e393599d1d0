"""What a head promises: features in, scores out, and probabilities that agree with them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tasks.contracts.declared import read_as_declared, says_what_it_is
from tasks.contracts.part import PART_PROMISES
from tasks.contracts.subject import Subject, UnaskedError, require
from tasks.contracts.toys import seeded
from tasks.model import seeded as drawing_from

SCALES = (1e-8, 1e-3, 1.0, 30.0, 1e3, 1e6, 1e18)
"""Of features, in float32."""
CLASSES = (2, 10, 100)


def gives_a_score_for_each_class(subject: Subject) -> None:
    """Features, (batch, width), become finite scores, (batch, classes), of any number of classes."""
    for classes in CLASSES:
        head, scores, _ = _scored(subject, classes, 1.0)
        require(scores.shape == (100, classes), f"scores of {classes} classes have shape {tuple(scores.shape)}")
        require(scores.isfinite().all(), "its scores are not finite")
        found = head.log_probabilities(scores)
        require(found.shape == scores.shape, f"its log-probabilities have shape {tuple(found.shape)}")
        require(found.dtype == scores.dtype, f"its log-probabilities are {found.dtype}")


def gives_probabilities(subject: Subject) -> None:
    """The probabilities of the classes are finite logarithms and sum to one, however small or large the features."""
    for classes, scale in _every():
        head, scores, _ = _scored(subject, classes, scale)
        found = head.log_probabilities(scores)
        require(found.isfinite().all(), f"for features of size {scale:g} a log-probability is not finite")
        off = float(torch.logsumexp(found.detach(), dim=1).abs().max())
        require(off < 1e-5, f"for features of size {scale:g} the probabilities do not sum to one, by {off:.2g}")


def orders_probabilities_as_scores(subject: Subject) -> None:
    """The larger a class's score, the likelier it is; the largest is the prediction."""
    for classes, scale in _every():
        head, scores, _ = _scored(subject, classes, scale)
        found = head.log_probabilities(scores)
        ordered = found.gather(1, scores.argsort(dim=1))
        top = found.gather(1, scores.argmax(dim=1, keepdim=True))[:, 0]
        require((ordered.diff(dim=1) >= -1e-5).all(), f"for features of size {scale:g} a larger score is less likely")
        require(
            torch.equal(top, ordered.amax(dim=1)), f"for features of size {scale:g} the largest score is not likeliest"
        )


def has_finite_gradients(subject: Subject) -> None:
    """The gradients of its log-probabilities are finite, however small or large the features."""
    for classes, scale in _every():
        head, scores, features = _scored(subject, classes, scale)
        (gradient,) = torch.autograd.grad(head.log_probabilities(scores)[:, 0].sum(), features)
        require(gradient.isfinite().all(), f"for features of size {scale:g} a gradient is not finite")


def has_a_loss_for_each_image(subject: Subject) -> None:
    """If it has a loss of its own, that is a finite number for each image, with a gradient."""
    head, scores, _ = _scored(subject, 10, 1.0)
    if not hasattr(head, "losses"):
        raise UnaskedError("it has no loss of its own")
    losses = head.losses(scores, torch.arange(100) % 10)
    require(losses.shape == (100,), f"the losses of 100 images have shape {tuple(losses.shape)}")
    require(losses.isfinite().all(), "a loss is not finite")
    require(losses.requires_grad, "its losses have no gradient")


def _every() -> list[tuple[int, float]]:
    return [(classes, scale) for classes in CLASSES for scale in SCALES]


def _scored(subject: Subject, classes: int, scale: float) -> tuple[Any, Tensor, Tensor]:
    """A head for as many features as classes, and the scores of a hundred images, in float32."""
    with drawing_from(0, torch.device("cpu")):
        head = subject.make(classes, classes).eval()
    features = (torch.randn(100, classes, generator=seeded(0)) * scale).requires_grad_()
    return head, head(features), features


PROMISES: tuple[Callable[[Subject], None], ...] = (
    read_as_declared,
    says_what_it_is,
    gives_a_score_for_each_class,
    gives_probabilities,
    orders_probabilities_as_scores,
    has_finite_gradients,
    has_a_loss_for_each_image,
    *PART_PROMISES,
)
"""In the order in which they are asked: what needs little comes first."""
