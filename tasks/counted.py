"""The model as an attack sees it: it counts its passes sample by sample and knows what the attack aims at.

It lives in the space of the budget, so that attacks know nothing of pixels and standardised units. It also knows what a
look is worth. An attack that lets samples go, or keeps the best of its points, says so (the fact `stops`) and asks:

* `finished(images, labels, reached)` before a sample leaves, with what a look saw `reached` there. On the model that is
  judged that is all, if it draws no numbers. If it draws, independent looks have to agree. In a transfer nobody is
  ever finished: what barely fools the source seldom fools another model.
* `confirmed(images, labels, reached)` before a point is believed to reach the aim (a nearer one is kept, a search is
  narrowed), which is asked of the source in a transfer as well.
* `looks(images, labels)` where points are compared that one lucky look may have put forward (`is_wavering`): their mean
  scores over independent looks, in place of the score that made them stand out.

Knows nothing of attacks, shards or rows of results.
"""

import itertools
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from tasks.ascent import Gradient, score_gradient
from tasks.cases import Budget
from tasks.metrics import Box, margins, slack
from tasks.noise import Noise, is_stochastic
from tasks.passes import classifier, refuse_asked, refuse_broken, scores_of
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Rows, Scores

Stopping = Literal["look", "confirmed", "never"]
"""When a sample is finished: once a look sees the aim reached, once independent looks agree, or never."""

LOOKS = 10
"""Independent looks that all have to see the aim reached before a point is believed to reach it."""
CLOSE_LOOKS = 30
"""As many more, of which three in four have to: of images that fool every second time one in 10^5 passes both."""
_CHECK_EVERY = 32


class Looks(NamedTuple):
    """Independent looks at images: the mean of their scores, (batch, classes); the share that is fooled, (batch,)."""

    scores: Scores
    share: Tensor


class CountedModel:
    """A model that counts its passes sample by sample, for one batch of samples, in the space of a budget.

    `samples` are the dataset's indices of the batch, (n,) int64, for messages. `targets`, (n,) int64, are the classes
    aimed at, None for an untargeted attack; `margins`, `fooled`, `loss` and `ascent` follow them. A stochastic model's
    scores are the mean over `eot` draws, which come from `noise`. `fixed_batch` runs every pass in chunks of exactly
    that many rows, padded, so that rounding does not depend on which samples share a batch. `stopping` says what
    a look is worth; where nothing is judged it is "look". `by` is the name of what asks, for messages.
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
        stopping: Stopping = "look",
        by: str = "the attack",
    ) -> None:
        self._module = model
        self._noise = noise if is_stochastic(model) else None
        self._eot = 1 if self._noise is None else eot
        self._samples = samples
        self._rows = torch.arange(len(samples), device=samples.device)
        self._fixed_batch = fixed_batch
        self._stopping = stopping
        self._budget = budget
        self._passes = itertools.count(1)
        self.forwards = torch.zeros_like(samples)
        self.backwards = torch.zeros_like(samples)
        self._by = by
        self._broken = torch.zeros(len(samples), device=samples.device)
        self._asked = torch.zeros(len(samples), device=samples.device)
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
    def has_shown_finished(self) -> bool:
        """Whether it has been asked so far what a look is worth."""
        return "finished" in self._shown

    @property
    def may_finish(self) -> bool:
        """Whether samples may leave before all is done, once they are finished; none may in a transfer."""
        self._shown.add("finished")
        return self._stopping != "never"

    @property
    def is_wavering(self) -> bool:
        """Whether one look settles nothing, because the model draws and somebody will judge what is found."""
        return self._noise is not None and self._stopping != "look"

    @property
    def is_final(self) -> bool:
        """Whether one look settles all: it is the model that is judged, and draws nothing."""
        return self.may_finish and not self.is_wavering

    @property
    def sync_every(self) -> int:
        """After how many steps an attack should look which samples are done.

        1 on the CPU, where looking costs nothing; more where a look waits for the device, and nothing else does.
        """
        return 4 if self._samples.is_cuda and not self.is_wavering else 1

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

        Images that are not finite raise AttackError, and scores that are not ModelError, but not at once: a look waits
        for the device. See `check`.
        """
        scores = self._drawn(images, self._eot)
        return scores[0] if self._noise is None else scores.mean(0)

    def looks(self, images: Images, labels: Labels, count: int = LOOKS) -> Looks:
        """One look; of a model that is wavering `count` of them, or what a look of the attack averages if that is more.

        Costs as many forwards.
        """
        self._shown.add("finished")
        with torch.no_grad():
            drawn = self._drawn(images, max(count, self._eot)) if self.is_wavering else self(images)[None]
        return Looks(drawn.mean(0), torch.stack([self.fooled(each, labels) for each in drawn]).double().mean(0))

    def confirmed(self, images: Images, labels: Labels, reached: Tensor) -> Tensor:
        """Of the samples whose aim a look saw `reached` at `images`, (batch,), those for which that can be believed.

        On a model that is wavering it costs LOOKS forwards, and CLOSE_LOOKS more where all of them agree.
        """
        self._shown.add("finished")
        if not self.is_wavering:
            return reached
        believed = reached.clone()
        for count, due in ((LOOKS, 1.0), (CLOSE_LOOKS, 0.75)):
            rows = torch.nonzero(believed)[:, 0]
            if len(rows) > 0:
                believed[rows] = self.at(rows).looks(images[rows], labels[rows], count).share >= due
        return believed

    def finished(self, images: Images, labels: Labels, reached: Tensor) -> Tensor:
        """Of the samples whose aim a look saw `reached` at `images`, (batch,), those that may leave with these."""
        return self.confirmed(images, labels, reached) if self.may_finish else torch.zeros_like(reached)

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
            classes, sign = (labels, 1) if self.targets is None else (self.targets, -1)
            ahead = score_gradient(self.log_probabilities, scores.detach(), classes, sign, of)
        (gradient,) = torch.autograd.grad(scores, images, ahead)
        return gradient, scores.detach()
