"""What is measured and how far one may go: distances, margins, projections, rounding. Tensors in, tensors out.

Knows nothing of attacks, shards or rows of results.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tasks.cases import Budget, Norm
from tasks.types import Images, Labels, Scores

_COMMON = 0.25
"""How much of the rounding of a score that of what all scores share is: four units in the last place of sixteen."""

Box = tuple[Tensor, Tensor]
"""Least and greatest valid values; each broadcasts to images."""


def rowwise(values: Tensor, like: Tensor) -> Tensor:
    """(batch,) values, shaped so that they broadcast over the other dimensions of `like`."""
    return values.view(-1, *[1] * (like.dim() - 1))


def radius(budget: Budget) -> float:
    """The eps of a budget that must have one, else ValueError."""
    if budget.eps is None:
        raise ValueError("this attack needs a budget with an eps")
    return budget.eps


def project(images: Images, clean: Images, budget: Budget, box: Box) -> Images:
    """The nearest images to `images` in the budget's ball around `clean`, then in the box.

    `clean` lies in the box, so the second step cannot leave the ball. Norms linf and l2, else ValueError.
    """
    if budget.eps is not None and budget.norm == "linf":
        images = torch.minimum(torch.maximum(images, clean - budget.eps), clean + budget.eps)
    elif budget.eps is not None and budget.norm == "l2":
        delta = images - clean
        norm = torch.linalg.vector_norm(delta.flatten(1), dim=1)
        images = clean + delta * rowwise((budget.eps / norm).clamp(max=1.0), delta)
    elif budget.eps is not None:
        raise ValueError(f"no projection on the {budget.norm} ball")
    return clip(images, box)


def clip(images: Images, box: Box, *, out: Tensor | None = None) -> Images:
    """The nearest images in the box. It takes less time than `clamp` where the ends of the box broadcast."""
    low, high = box
    return torch.minimum(torch.maximum(images, low, out=out), high, out=out)


def length_of(delta: Tensor, norm: Norm = "l2") -> Tensor:
    """The norm, linf or l2, (batch,), never 0. Squares are summed in float64: of small numbers float32 makes 0."""
    flat, tiny = delta.flatten(1), torch.finfo(delta.dtype).tiny
    if norm == "linf":
        return flat.abs().amax(1).clamp_(min=tiny)
    length: Tensor = torch.linalg.vector_norm(flat, dim=1, dtype=torch.float64)
    return length.clamp_(min=tiny).to(delta.dtype)


def distances(images: Images, clean: Images, centre: Tensor | float = 0.0) -> dict[str, Tensor]:
    """How far `images` are from `clean`, per sample: the distance columns of `tasks.schema.SAMPLES`.

    Computed in float64, returned as float32, (batch,); the counts l0 and l0_values as int64. `centre` is the
    dataset's mean, which broadcasts to images. A relative distance is not finite where what it is relative to is zero.
    """
    delta = (images.double() - clean.double()).abs()
    flat, own, centred = delta.flatten(1), clean.double().flatten(1), (clean.double() - centre).flatten(1)
    l2, linf = torch.linalg.vector_norm(flat, dim=1), flat.amax(1)
    measured = {
        "l1": flat.sum(1),
        "l2": l2,
        "linf": linf,
        "mse": flat.square().mean(1),
        "relative_l2": l2 / torch.linalg.vector_norm(own, dim=1),
        "relative_linf": linf / own.abs().amax(1),
        "centred_l2": l2 / torch.linalg.vector_norm(centred, dim=1),
        "centred_linf": linf / centred.abs().amax(1),
    }
    changed = delta > 0
    counts = {"l0": changed.any(1).flatten(1).sum(1), "l0_values": changed.flatten(1).sum(1)}
    return {**counts, **{name: value.float() for name, value in measured.items()}}


def margins(scores: Scores, labels: Labels) -> Tensor:
    """Score of the label minus the best other score, (batch,); infinite where there is no other class."""
    own = scores.gather(1, labels[:, None])
    others = scores.scatter(1, labels[:, None], -torch.inf)
    return own[:, 0] - others.amax(1)


def best_other(scores: Scores, labels: Labels) -> Labels:
    """The best-scoring class other than the label, (batch,)."""
    return scores.scatter(1, labels[:, None], -torch.inf).argmax(1)


def best_others(scores: Scores, labels: Labels, count: int) -> Labels:
    """So many of the best-scoring classes other than the label, or all there are, best first: (batch, count)."""
    others = scores.scatter(1, labels[:, None], -torch.inf)
    return others.topk(min(count, scores.shape[1] - 1), dim=1).indices


def all_others(labels: Labels, num_classes: int) -> Labels:
    """Every class other than the label, in their order, (batch, num_classes - 1)."""
    others = torch.arange(num_classes - 1, device=labels.device).expand(len(labels), -1)
    return others + (others >= labels[:, None])


def gap_gradient(scores: Scores, rising: Labels, falling: Labels) -> Tensor:
    """The gradient by the scores of the score of `rising` less that of `falling`, (batch, classes): 1, -1, else 0."""
    return torch.zeros_like(scores).scatter_(1, rising[:, None], 1.0).scatter_(1, falling[:, None], -1.0)


def rounding(sizes: Tensor) -> Tensor:
    """What rounding may change numbers of such sizes by: sixteen units in their last place."""
    return sizes * (16 * torch.finfo(sizes.dtype).eps)


def slack(scores: Scores) -> Tensor:
    """What rounding may change gaps between scores by, (batch,): they differ a little in a batch of another shape.

    It is that of the largest score where scores lie around 0. What all of them have in common is rounded as well, but
    by a few units only, as it is added up once: it must not widen what counts as equal.
    """
    low, high = scores.detach().aminmax(dim=1)
    largest = torch.maximum(high, -low)
    return rounding(torch.minimum(largest, torch.add(high - low, largest, alpha=_COMMON)))


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode with no parameter asking for a gradient; mode and flags come back after."""
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.eval().requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
