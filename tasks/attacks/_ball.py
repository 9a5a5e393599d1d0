"""Where images may move under a budget with an eps: steps in the ball and the box, and random points of the ball.

Knows nothing of models.
"""

import torch
from torch import Tensor

from tasks.cases import Budget, Norm
from tasks.metrics import Box, clip, length_of, radius, rowwise
from tasks.streams import Streams
from tasks.types import Images


class Ball:
    """Where images may move: in the budget's ball around each, and in the box. Norms linf and l2, else ValueError.

    Like `tasks.metrics.project`, but in place and with the sums that never change made once.
    """

    def __init__(self, clean: Images, budget: Budget, box: Box) -> None:
        self.eps, self.norm, self.box = radius(budget), budget.norm, box
        if self.norm == "linf":
            self.held = [torch.maximum(clean - self.eps, box[0]), torch.minimum(clean + self.eps, box[1])]
        elif self.norm == "l2":
            self.held = [clean.clone()]
        else:
            raise ValueError(f"no steps in the {self.norm} ball")
        self._work = torch.empty_like(clean)

    def step(self, points: Images, gradient: Tensor, length: float) -> Images:
        """Move the points of the first len(points) samples by `length` along the gradient, and clip them; in place."""
        if self.norm == "linf":
            work = torch.sign(gradient, out=self._work[: len(points)])
            return self.clip(points.add_(work, alpha=length))
        return self.clip(points.addcmul_(gradient, rowwise(length / length_of(gradient), gradient)))

    def clip(self, points: Images) -> Images:
        """The nearest points in the ball, then in the box: in place, for the first len(points) samples."""
        if self.norm == "linf":
            return points.clamp_(*(bound[: len(points)] for bound in self.held))
        clean = self.held[0][: len(points)]
        delta = torch.sub(points, clean, out=self._work[: len(points)])
        norm = torch.linalg.vector_norm(delta.flatten(1), dim=1)
        torch.addcmul(clean, delta, rowwise((self.eps / norm).clamp_(max=1.0), delta), out=points)
        return clip(points, self.box, out=points)


def random_point(clean: Images, budget: Budget, streams: Streams, restart: int) -> Images:
    """A point drawn uniformly from the ball around each image."""
    eps, direction = radius(budget), random_direction(clean, budget.norm, streams, restart)
    if budget.norm == "linf":
        return direction.mul_(eps).add_(clean)
    share = streams.uniform("start radius", restart, (), clean.dtype) ** (1 / clean[0].numel())
    return direction.mul_(rowwise(eps * share / length_of(direction), clean)).add_(clean)


def random_direction(like: Images, norm: Norm, streams: Streams, restart: int) -> Tensor:
    """A direction for each image: uniform numbers in [-1, 1) for linf, normal ones for l2. Of no certain length."""
    shape = tuple(like.shape[1:])
    if norm == "linf":
        return streams.uniform("start", restart, shape, like.dtype).mul_(2).sub_(1)
    return streams.normal("start", restart, shape, like.dtype)
