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

from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from tasks.ascent import Gradient, score_gradient
from tasks.cases import Budget
from tasks.counting import CountedPasses
from tasks.metrics import margins, slack
from tasks.streams import Streams
from tasks.types import Images, Labels, Rows, Scores

Stopping = Literal["look", "confirmed", "never"]
"""When a sample is finished: once a look sees the aim reached, once independent looks agree, or never."""

LOOKS = 10
"""Independent looks that all have to see the aim reached before a point is believed to reach it."""
CLOSE_LOOKS = 30
"""As many more, of which three in four have to: of images that fool every second time one in 10^5 passes both."""


class Looks(NamedTuple):
    """Independent looks at images: the mean of their scores, (batch, classes); the share that is fooled, (batch,)."""

    scores: Scores
    share: Tensor


class CountedModel(CountedPasses):
    """The model as an attack sees it, for one batch of samples: see `CountedPasses` for what goes there.

    `targets`, (n,) int64, are the classes aimed at, None for an untargeted attack; `margins`, `fooled`, `loss` and
    `ascent` follow them. `stopping` says what a look is worth; where nothing is judged it is "look".
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
        super().__init__(
            model, samples, budget, num_classes=num_classes, eot=eot, noise=noise, fixed_batch=fixed_batch, by=by
        )
        self._targets = targets
        self._stopping = stopping
        self._shown: set[str] = set()  # shared by all views, as the counts are

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
    def shown(self) -> frozenset[str]:
        """What has been asked for so far: "targets", what can be "believed", or when a sample is "finished"."""
        return frozenset(self._shown)

    @property
    def may_finish(self) -> bool:
        """Whether samples may leave before all is done, once they are finished; none may in a transfer."""
        self._shown.add("finished")
        return self._stopping != "never"

    @property
    def is_wavering(self) -> bool:
        """Whether one look settles nothing, because the model draws and somebody will judge what is found."""
        self._shown.add("believed")
        return self._wavers

    @property
    def _wavers(self) -> bool:
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
        return 4 if self._samples.is_cuda and not self._wavers else 1

    def at(self, rows: Rows) -> Self:
        """The model for some rows of this batch (a row may occur more than once); their passes count for them."""
        view = super().at(rows)
        view.__dict__["_targets"] = None if self._targets is None else self._targets[rows]
        return view

    def looks(self, images: Images, labels: Labels, count: int = LOOKS) -> Looks:
        """One look; of a model that is wavering `count` of them, or what a look of the attack averages if that is more.

        Costs as many forwards.
        """
        with torch.no_grad():
            drawn = self._drawn(images, max(count, self._eot)) if self.is_wavering else self(images)[None]
        return Looks(drawn.mean(0), torch.stack([self.fooled(each, labels) for each in drawn]).double().mean(0))

    def confirmed(self, images: Images, labels: Labels, reached: Tensor) -> Tensor:
        """Of the samples whose aim a look saw `reached` at `images`, (batch,), those for which that can be believed.

        On a model that is wavering it costs LOOKS forwards, and CLOSE_LOOKS more where all of them agree.
        """
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
