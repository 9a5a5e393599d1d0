"""How a universal perturbation is fitted: image by image with DeepFool, or batch by batch along the gradient's sign.

Knows nothing of components, or of what is done with the perturbation.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tasks.attacks._deepfool_walk import BEYOND
from tasks.cases import Budget, Norm
from tasks.counted import CountedModel
from tasks.metrics import project, radius
from tasks.streams import Streams
from tasks.types import Images, Labels, Rows

Pass = Callable[["Fitting", Tensor, int], Tensor]
"""(fitting set, perturbation, number of the pass) -> the perturbation after a pass over the set."""

_AT_ONCE = 512
"""Images that go through the model at once where only their predictions are wanted."""
_AHEAD = 64
"""Images that are looked at ahead, at most, for the next one that is not fooled."""


class Fitting:
    """The fitting set: images in the budget's space, what the model predicts for them, and their labels."""

    def __init__(self, model: CountedModel, images: Images, labels: Labels, budget: Budget, streams: Streams) -> None:
        self.model = model
        self.images = images
        self.budget = budget
        self.streams = streams
        self.rows = torch.arange(len(labels), device=labels.device)
        self.predicted = labels
        self.predicted = self.predictions(self.rows, torch.zeros_like(images[:1]))
        self.correct = self.predicted == labels

    def moved(self, rows: Rows, perturbation: Tensor) -> Images:
        """Some of the images, perturbed, in the box if there is one."""
        return (self.images[rows] + perturbation).clamp(*self.model.box)

    def predictions(self, rows: Rows, perturbation: Tensor) -> Labels:
        """What the model predicts for some of the images, perturbed."""
        with torch.no_grad():
            parts = [
                self.model.at(part)(self.moved(part, perturbation)).argmax(1) for part in torch.split(rows, _AT_ONCE)
            ]
        return torch.cat([rows[:0], *parts])

    def fooled(self, rows: Rows, perturbation: Tensor) -> Tensor:
        """Whether the perturbation changes what is predicted for some of the images, (n,)."""
        return self.predictions(rows, perturbation) != self.predicted[rows]

    def order(self, number: int) -> Rows:
        """The order of the images in a pass. It follows from the images' own streams, whatever their order here."""
        return self.streams.uniform("order", number, (), torch.float64).argsort(stable=True)

    def within(self, perturbation: Tensor) -> Tensor:
        """The nearest perturbation in the ball."""
        end = perturbation.new_tensor(torch.inf)
        return project(perturbation, torch.zeros_like(perturbation), self.budget, (-end, end))


def deepfool_pass(norm: Norm, *, steps: int, overshoot: float, candidates: int | None) -> Pass:
    """Moosavi-Dezfooli et al. 2017, algorithm 1: DeepFool on each image that is not fooled yet, one after the other.

    Its steps are the shortest in `norm`, l2 or linf. That order is kept exactly; only the look for the next such image
    is a look at many at once.
    """

    def go(fitting: Fitting, perturbation: Tensor, number: int) -> Tensor:
        boundaries = _Boundaries(fitting.model.num_classes, candidates, norm)
        order = fitting.order(number)
        order = order[fitting.correct[order]]
        place, ahead = 0, 1
        while place < len(order):
            rows = order[place : place + ahead]
            place, ahead = place + len(rows), min(2 * ahead, _AHEAD)
            for standing in _standing(fitting, rows, perturbation):
                row = rows[standing : standing + 1]
                step = _until_fooled(fitting, row, perturbation, boundaries, steps=steps, stretch=1 + overshoot)
                if step is not None:  # what was seen of the rows behind this one holds no longer
                    perturbation = fitting.within(perturbation + step)
                    place, ahead = place - len(rows) + standing + 1, max(1, min(2 * standing, _AHEAD))
                    break
        return perturbation

    return go


def _standing(fitting: Fitting, rows: Rows, perturbation: Tensor) -> list[int]:
    """Places of the rows that are not fooled. A single row is not looked at: DeepFool's first look shows it."""
    if len(rows) == 1:
        return [0]
    places: list[int] = torch.nonzero(~fitting.fooled(rows, perturbation))[:, 0].tolist()
    return places


def _until_fooled(
    fitting: Fitting, row: Rows, perturbation: Tensor, boundaries: "_Boundaries", *, steps: int, stretch: float
) -> Tensor | None:
    """DeepFool from one perturbed image: `stretch` times the sum of its steps; None if it needs none or too many."""
    model, label, start = fitting.model.at(row), int(fitting.predicted[row]), fitting.moved(row, perturbation)
    travel = torch.zeros_like(start)
    for step in range(steps + 1):
        with torch.set_grad_enabled(step < steps):
            points = (start + stretch * travel).requires_grad_(step < steps)
            scores = model(points)
        if int(scores.argmax()) != label:
            return stretch * travel if step > 0 else None
        if step < steps:
            travel = travel + boundaries.step(scores, points, label)
    return None


class _Boundaries:
    """Steps to the nearest linearised class boundary.

    All boundaries of a class are measured the first time, and after that the `candidates` nearest by the gradients
    last seen between the two classes; with None all of them every time.
    """

    def __init__(self, num_classes: int, candidates: int | None, norm: Norm) -> None:
        self._norms = [[math.nan] * num_classes for _ in range(num_classes)]
        self._candidates = candidates or num_classes
        self._norm = norm

    def step(self, scores: Tensor, points: Images, label: int) -> Tensor:
        """The step from one point, (1, ...), to the nearest boundary of the label."""
        norms, nearest, shortest = self._norms[label], torch.zeros_like(points), math.inf
        gaps = (scores[0] - scores[0, label]).tolist()
        for other in self._chosen(gaps, norms, label):
            weights = torch.zeros_like(scores)
            weights[0, other], weights[0, label] = 1, -1
            (gradient,) = torch.autograd.grad(scores, points, weights, retain_graph=True)
            norms[other] = self._slope(gradient)
            distance = abs(gaps[other]) / max(norms[other], 1e-30)
            if distance < shortest:
                nearest, shortest = gradient, distance
        length = min(shortest + BEYOND, 10 * points.numel() ** 0.5)  # where the model is flat, no step to infinity
        direction, size = (nearest.sign(), 1.0) if self._norm == "linf" else (nearest, max(_norm(nearest), 1e-30))
        step: Tensor = direction * (length / size)
        return step

    def _slope(self, gradient: Tensor) -> float:
        """The dual norm of a gradient."""
        return float(gradient.abs().sum()) if self._norm == "linf" else _norm(gradient)

    def _chosen(self, gaps: list[float], norms: list[float], label: int) -> list[int]:
        others = [other for other in range(len(gaps)) if other != label]
        if any(math.isnan(norms[other]) for other in others):
            return others
        return sorted(others, key=lambda other: abs(gaps[other]) / max(norms[other], 1e-30))[: self._candidates]


def gradient_pass(*, batch: int, alpha: float, passes: int) -> Pass:
    """Shafahi et al. 2020, algorithm 2, on the log-odds: a step along the batch's summed gradient, then the ball.

    Over all passes the steps shrink from `alpha` times eps to none.
    """

    def go(fitting: Fitting, perturbation: Tensor, number: int) -> Tensor:
        batches = torch.split(fitting.order(number), batch)
        for place, rows in enumerate(batches):
            view, labels = fitting.model.at(rows), fitting.predicted[rows]
            gradient, _ = view.ascent(fitting.moved(rows, perturbation), labels)
            direction = _unit(gradient.sum(0, keepdim=True), fitting.budget)
            left = 1 - (number + place / len(batches)) / passes
            perturbation = fitting.within(perturbation + alpha * left * radius(fitting.budget) * direction)
        return perturbation

    return go


def _unit(gradient: Tensor, budget: Budget) -> Tensor:
    if budget.norm == "linf":
        return gradient.sign()
    return gradient / max(_norm(gradient), 1e-30)


def _norm(gradient: Tensor) -> float:
    return float(torch.linalg.vector_norm(gradient))
