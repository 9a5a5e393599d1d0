"""Passes of a model, counted sample by sample and checked, in the space of a budget.

Knows nothing of what an attack aims at, or of what a look is worth: `tasks.counted` does.
"""

import itertools
from typing import Any, Self

import torch
from torch import Tensor, nn

from tasks.cases import Budget
from tasks.metrics import Box
from tasks.noise import Noise, is_stochastic
from tasks.passes import classifier, refuse_asked, refuse_broken, scores_of
from tasks.streams import Streams
from tasks.types import AttackError, Images, Rows, Scores

_CHECK_EVERY = 32
"""Passes between two looks at whether all was finite: such a look waits for the device."""


class CountedPasses:
    """A model that counts its passes sample by sample, for one batch of samples, in the space of a budget.

    `samples` are the dataset's indices of the batch, (n,) int64, for messages, and `by` is the name of what asks, too.
    A stochastic model's scores are the mean over `eot` draws, which come from `noise`. `fixed_batch` runs every pass in
    chunks of exactly that many rows, padded, so that rounding does not depend on which samples share a batch.
    `forwards` and `backwards` are (n,) int64 and shared by all views. Assumes a `frozen` model.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Tensor,
        budget: Budget,
        *,
        num_classes: int,
        eot: int = 1,
        noise: Streams | None = None,
        fixed_batch: int | None = None,
        by: str = "the attack",
    ) -> None:
        self._module = model
        self._noise = noise if is_stochastic(model) else None
        self._eot = 1 if self._noise is None else eot
        self._samples = samples
        self._rows = torch.arange(len(samples), device=samples.device)
        self._fixed_batch = fixed_batch
        self._budget = budget
        self._by = by
        self._passes = itertools.count(1)
        self._broken, self._asked = (torch.zeros(len(samples), device=samples.device) for _ in range(2))
        self.forwards, self.backwards = torch.zeros_like(samples), torch.zeros_like(samples)
        self.num_classes = num_classes
        mean, std = classifier(model).mean, classifier(model).std
        self._mean: Tensor = mean.view(1, -1, 1, 1)
        self._std: Tensor = std.view(1, -1, 1, 1)

    @property
    def classifier(self) -> Any:  # noqa: ANN401 - see the function of that name
        """The model itself, for what looks inside it. A pass through it is not counted and draws no noise."""
        return classifier(self._module)

    @property
    def box(self) -> Box:
        """The valid values in the space of the budget; infinite for a budget without a box."""
        low, high = torch.zeros_like(self._mean), torch.ones_like(self._mean)
        if not self._budget.box:
            return low - torch.inf, high + torch.inf
        return self.inputs(low), self.inputs(high)

    def inputs(self, pixels: Images) -> Images:
        """Pixels in [0, 1] in the space of the budget."""
        return (pixels - self._mean) / self._std if self._budget.space == "standardised" else pixels

    def pixels(self, images: Images) -> Images:
        """Images in the space of the budget as pixels; under a box exactly in [0, 1] despite rounding.

        The gradient passes straight through that clipping, so that no pixel freezes at an end of the box.
        """
        if self._budget.space == "pixel":
            return images
        mapped = images * self._std + self._mean
        return mapped + (mapped.detach().clamp(0, 1) - mapped.detach()) if self._budget.box else mapped

    @property
    def centre(self) -> Tensor:
        """The dataset's mean in the space of the budget; broadcasts to images."""
        return self.inputs(self._mean)

    def at(self, rows: Rows) -> Self:
        """The model for some rows of this batch (a row may occur more than once); their passes count for them."""
        view = object.__new__(type(self))
        view.__dict__ = {**self.__dict__, "_rows": self._rows[rows]}
        return view

    def __call__(self, images: Images) -> Scores:
        """Scores, (batch, classes). Raises AttackError for a batch of another size.

        Images that are not finite raise AttackError, and scores that are not ModelError, but not at once: a look waits
        for the device. See `check`.
        """
        scores = self._drawn(images, self._eot)
        return scores[0] if self._noise is None else scores.mean(0)

    def log_probabilities(self, scores: Scores) -> Tensor:
        """(batch, classes): the head's."""
        found: Tensor = classifier(self._module).log_probabilities(scores)
        return found

    def _drawn(self, images: Images, count: int) -> Scores:
        """The scores of `count` draws, (count, batch, classes): each a pass, with noise of its own."""
        if len(images) != len(self._rows):
            raise AttackError(f"{len(images)} images for a model of {len(self._rows)} rows: use model.at(rows)")
        scores = self._passed(images, count)
        passes = torch.full_like(self._rows, count)
        self.forwards.index_add_(0, self._rows, passes)
        # 0 * x is NaN for NaN and infinity: marks that need no look at the device. What follows from a model's NaN is
        # no fault of what asks.
        asked = (images.detach().flatten(1).sum(1) * 0).float()
        self._asked.index_add_(0, self._rows, asked.masked_fill(self._broken[self._rows] != 0, 0.0))
        self._broken.index_add_(0, self._rows, (scores.detach() * 0).sum((0, 2)).float())
        if next(self._passes) % _CHECK_EVERY == 0:
            self.check()
        if scores.requires_grad:
            scores.register_hook(lambda _: self._count_backward(passes))  # type: ignore[no-untyped-call]
        return scores

    def _count_backward(self, passes: Tensor) -> None:
        self.backwards.index_add_(0, self._rows, passes)

    def _passed(self, images: Images, count: int) -> Scores:
        pixels = self.pixels(images)
        if self._noise is None:
            return scores_of(self._module, pixels, self._fixed_batch)[None]
        # Draw after draw, so that the rows of a pass lie together: what they share is then drawn once.
        draws = torch.arange(count, device=images.device).repeat_interleave(len(images))
        rows = self._rows.repeat(count)
        noise = Noise(self._noise.at(rows), self.forwards[rows] + draws)
        scores = scores_of(self._module, pixels.repeat(count, 1, 1, 1), self._fixed_batch, noise)
        return scores.view(count, len(images), scores.shape[1])

    def check(self) -> None:
        """Raise an error that names samples if any pass so far was of an image, or gave a score, that is not finite.

        AttackError for the image, whatever the model made of it; else ModelError.
        """
        refuse_asked(self._asked, self._samples, self._by)
        refuse_broken(self._broken, self._samples)
