"""The model as an attack sees it: it counts its passes sample by sample and knows what the attack aims at.

It lives in the space of the budget, so that attacks know nothing of pixels and standardised units. Knows nothing of
attacks, shards or rows of results.
"""

import itertools
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tasks.cases import Budget
from tasks.metrics import Box, best_other, gap_gradient, margins, slack
from tasks.noise import Noise, is_stochastic
from tasks.passes import classifier, refuse_broken, scores_of
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Rows, Scores

Gradient = Literal["log_odds", "head", "score"]
"""What an attack climbs: see `CountedModel.ascent`."""

_LOOK_EVERY = 32


class CountedModel:
    """A model that counts its passes sample by sample, for one batch of samples, in the space of a budget.

    `samples` are the dataset's indices of the batch, (n,) int64, for messages. `targets`, (n,) int64, are the classes
    aimed at, None for an untargeted attack; `margins`, `fooled`, `loss` and `ascent` follow them. A stochastic model's
    scores are the mean over `eot` draws, which come from `noise`. `fixed_batch` runs every pass in chunks of exactly
    that many rows, padded, so that rounding does not depend on which samples share a batch.
    `forwards` and `backwards` are (n,) int64 and shared by all views. Assumes a `frozen` model.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Tensor,
        budget: Budget,
        *,
        num_classes: int,
        targets: Labels | None = None,
        eot: int = 1,
        noise: Streams | None = None,
        fixed_batch: int | None = None,
    ) -> None:
        self._module = model
        self._noise = noise if is_stochastic(model) else None
        self._eot = 1 if self._noise is None else eot
        self._samples = samples
        self._rows = torch.arange(len(samples), device=samples.device)
        self._fixed_batch = fixed_batch
        self._budget = budget
        self._passes = itertools.count(1)
        self.forwards = torch.zeros_like(samples)
        self.backwards = torch.zeros_like(samples)
        self._broken = torch.zeros(len(samples), device=samples.device)
        self.num_classes = num_classes
        self._targets = targets
        self._shown: set[str] = set()  # shared by all views, as the counts are
        mean, std = classifier(model).mean, classifier(model).std
        self._mean: Tensor = mean.view(1, -1, 1, 1)
        self._std: Tensor = std.view(1, -1, 1, 1)

    @property
    def classifier(self) -> Any:  # noqa: ANN401 - see the function of that name
        """The model itself, for what looks inside it. A pass through it is not counted and draws no noise."""
        return classifier(self._module)

    @property
    def targets(self) -> Labels | None:
        """The classes aimed at, (batch,), int64; None for an untargeted attack."""
        self._shown.add("targets")
        return self._targets

    @property
    def is_targeted(self) -> bool:
        """Whether there are classes to aim at."""
        return self._targets is not None

    @property
    def has_shown_targets(self) -> bool:
        """Whether anything that follows the targets has been asked for so far."""
        return "targets" in self._shown

    @property
    def sync_every(self) -> int:
        """After how many steps an attack should look which samples are done.

        1 on the CPU, where looking costs nothing; more where a look waits for the device.
        """
        return 4 if self._samples.is_cuda else 1

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

    def at(self, rows: Rows) -> "CountedModel":
        """The model for some rows of this batch (a row may occur more than once); their passes count for them."""
        view = object.__new__(CountedModel)
        targets = None if self._targets is None else self._targets[rows]
        view.__dict__ = {**self.__dict__, "_rows": self._rows[rows], "_targets": targets}
        return view

    def __call__(self, images: Images) -> Scores:
        """Scores, (batch, classes). Raises AttackError for a batch of another size.

        Scores that are not finite raise ModelError, but not at once: a look waits for the device. See `check`.
        """
        if len(images) != len(self._rows):
            raise AttackError(f"{len(images)} images for a model of {len(self._rows)} rows: use model.at(rows)")
        scores = self._drawn(images)
        passes = torch.full_like(self._rows, self._eot)
        self.forwards.index_add_(0, self._rows, passes)
        # 0 * score is NaN for NaN and infinity: a mark that needs no look at the device.
        self._broken.index_add_(0, self._rows, (scores.detach() * 0).sum(1).float())
        if next(self._passes) % _LOOK_EVERY == 0:
            self.check()
        if scores.requires_grad:
            scores.register_hook(lambda _: self._count_backward(passes))  # type: ignore[no-untyped-call]
        return scores

    def _count_backward(self, passes: Tensor) -> None:
        self.backwards.index_add_(0, self._rows, passes)

    def _drawn(self, images: Images) -> Scores:
        """The scores, or the mean of those of `eot` draws."""
        pixels = self.pixels(images)
        if self._noise is None:
            return scores_of(self._module, pixels, self._fixed_batch)
        # Draw after draw, so that the rows of a pass lie together: what they share is then drawn once.
        draws = torch.arange(self._eot, device=images.device).repeat_interleave(len(images))
        rows = self._rows.repeat(self._eot)
        noise = Noise(self._noise.at(rows), self.forwards[rows] + draws)
        scores = scores_of(self._module, pixels.repeat(self._eot, 1, 1, 1), self._fixed_batch, noise)
        return scores.view(self._eot, len(images), scores.shape[1]).mean(0)

    def check(self) -> None:
        """Raise ModelError, naming samples, if any pass so far gave a score that is not finite."""
        refuse_broken(self._broken, self._samples)

    def log_probabilities(self, scores: Scores) -> Tensor:
        """(batch, classes): the head's."""
        found: Tensor = classifier(self._module).log_probabilities(scores)
        return found

    def margins(self, scores: Scores, labels: Labels) -> Tensor:
        """How far the scores are from the attack's aim, (batch,): negative where it is reached.

        Untargeted: score of the label minus the best other score. Targeted: the best other score minus the target's.
        """
        return margins(scores, labels) if self.targets is None else -margins(scores, self.targets)

    def fooled(self, scores: Scores, labels: Labels) -> Tensor:
        """Whether the attack's aim is reached by more than rounding can undo, (batch,).

        The same image in a batch of another shape gives scores that differ by a few units in the last place. An
        attack that ends within them hands the judge an image that fools today and not tomorrow.
        """
        return self.standing(scores, labels)[1]

    def standing(self, scores: Scores, labels: Labels) -> tuple[Tensor, Tensor]:
        """`margins` and `fooled`, for the price of one."""
        found = self.margins(scores, labels)
        return found, found < -slack(scores)

    def loss(self, scores: Scores, labels: Labels) -> Tensor:
        """What an attack raises, (batch,), in float64: the labels' negative log-likelihood, or the targets' positive.

        In float32 a softmax saturates at a score gap of 17 and its gradient vanishes at 104; here at 745.
        """
        classes, sign = (labels, -1) if self.targets is None else (self.targets, 1)
        return sign * self.log_probabilities(scores.double()).gather(1, classes[:, None])[:, 0]

    def ascent(self, images: Images, labels: Labels, of: Gradient = "log_odds") -> tuple[Tensor, Scores]:
        """The direction in which the loss grows fastest at `images`, and the scores there (detached).

        With "log_odds" it is the loss's gradient times a positive number of each sample's own: that of the log-odds
        against the label (or for the target), which grow with the loss but do not saturate with it. Where the head's
        own gradient is zero or not finite, the margin's. With "head" it is the loss's own in the model's precision,
        which is exactly zero where the head is saturated, and with "score" that of nothing but the label's score,
        downwards (or the target's, upwards). Costs one forward and one backward.
        """
        with torch.enable_grad():
            images = images.detach().requires_grad_()
            scores = self(images)
            ahead = self._score_gradient(scores.detach(), labels, of)
        (gradient,) = torch.autograd.grad(scores, images, ahead)
        return gradient, scores.detach()

    def _score_gradient(self, scores: Scores, labels: Labels, of: Gradient) -> Tensor:
        """The direction in the scores that makes the direction in the images."""
        classes, sign = (labels, 1) if self.targets is None else (self.targets, -1)
        own = classes[:, None]
        if of != "log_odds":
            leaf = scores.requires_grad_()
            rising = leaf if of == "score" else self.log_probabilities(leaf)
            (gradient,) = torch.autograd.grad(-sign * rising.gather(1, own).sum(), leaf)
            return gradient
        with torch.enable_grad():
            leaf = scores.double().requires_grad_()
            log_probabilities = self.log_probabilities(leaf)
        # The gradient of the log-odds in the log-probabilities, written out: autograd takes twice as long over it.
        shares = log_probabilities.detach().scatter(1, own, -torch.inf).softmax(1).scatter_(1, own, -1.0)
        (gradient,) = torch.autograd.grad(log_probabilities, leaf, shares)
        largest = gradient.abs().amax(1, keepdim=True)
        gradient = gradient.div_(sign * largest)
        usable = (largest > 0) & (largest < torch.inf)
        if scores.is_cuda or not bool(usable.all()):
            margin = gap_gradient(gradient, best_other(scores, classes), classes) * sign
            gradient = torch.where(usable, gradient, margin)
        return gradient.to(scores.dtype)
