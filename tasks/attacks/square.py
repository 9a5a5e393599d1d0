"""The Square Attack: random search with squares that shrink, on scores alone."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tasks.attacks._log_odds import log_odds
from tasks.attacks._squares import Change, L2Squares, LinfSquares, Squares
from tasks.cases import Budget
from tasks.counted import CLOSE_LOOKS, CountedModel
from tasks.metrics import radius, rowwise, slack
from tasks.parameters import Count, Share
from tasks.per_sample import PerSample
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Rows, Scores, Steps

_HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries of 10,000 after which the share of an image that a square covers is halved."""

Loss = Literal["margin", "cross_entropy"]


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1912.00049",
    norms=("linf", "l2"),
    budget="eps",
    knowledge="score",
    targeting=("untargeted", "targeted"),
    stops=True,
)
def square(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    queries: Count = 5000,
    p_init: Share = 0.8,
    restarts: Count = 1,
    loss: Literal["margin", "cross_entropy"] = "margin",
    stop: Literal["success", "never"] = "success",
) -> tuple[Images, Steps]:
    """Square Attack, https://arxiv.org/abs/1912.00049: a random square is written anew, and kept if the loss falls.

    Andriushchenko et al. 2020, algorithms 1 to 3. `queries` are those of each restart; the look at the image itself
    is one more. Squares cover the share `p_init` of the image at first, then less by the paper's schedule, which is
    stretched to `queries`. The paper takes the margin untargeted and the cross-entropy targeted. `restarts` are for
    samples that are not finished yet. Returned is the point at which a sample is finished, see `tasks.counted`, else
    (or with stop: never) the evaluated point with the smallest loss; as steps, the points evaluated.

    Unlike the papers' code, every sample has its own squares, they reach the last row and column, and only an
    improvement beyond rounding is kept. AutoAttack's code lets squares in linf propose what is already there; here
    such a square has its signs turned.
    """
    channels, height, width = images.shape[1:]
    kind = LinfSquares if budget.norm == "linf" else L2Squares
    squares: Squares = kind(radius(budget), model.box, (channels, height, width))
    plan = _Plan(squares, queries, p_init, loss, leave=stop == "success" and model.may_finish)
    with torch.no_grad():
        clean = images.flatten(2)
        scores, share = model.looks(images, labels)
        best = _Best(clean.clone(), *plan.looks(model, scores, labels), share == 1)
        # A loss falls if it does so by more than rounding, which depends on who else is in the batch.
        rounding = slack(scores)
        for restart in range(restarts):
            rows = torch.nonzero(~best.done | (not plan.leave))[:, 0]
            if len(rows) == 0:
                break
            points = squares.start(clean[rows], streams.at(rows), restart)
            search = _Search(model.at(rows), images.shape, rows, points, clean[rows], labels[rows], rounding[rows])
            _run(search, streams, plan, restart, best)
    return best.points.view(images.shape), best.steps


class _Best:
    """Per sample: the best point evaluated, flat, its loss, whether it fools, whether all is done, and points seen."""

    def __init__(self, points: Images, losses: Tensor, fools: Tensor, done: Tensor) -> None:
        self.points = points
        self.losses = losses
        self.fools = fools
        self.done = done
        self.steps = torch.zeros_like(fools, dtype=torch.int64)

    def offer(self, search: "_Search", steps: int) -> None:
        """Take what some samples have come to, after so many points, where it is better than what is there."""
        rows = search.rows
        better = torch.where(search.fools == self.fools[rows], search.losses < self.losses[rows], search.fools)
        taken = rows[better]
        self.points[taken], self.losses[taken] = search.points[better], search.losses[better]
        self.fools[taken], self.done[taken] = search.fools[better], search.done[better]
        self.steps[rows] += steps


@dataclass(frozen=True)
class _Plan:
    """What every search of one attack has in common. `leave`: a sample that is done leaves."""

    squares: Squares
    queries: int
    p_init: float
    loss: Loss
    leave: bool

    def looks(self, model: CountedModel, scores: Scores, labels: Labels) -> tuple[Tensor, Tensor]:
        """What is to fall, (n,), and who is fooled, (n,)."""
        margins = model.margins(scores, labels)
        fools = margins < 0
        # More is to be computed only where someone may be: on the CPU it costs less to look.
        if model.sync_every > 1 or bool(fools.any()):
            fools = model.fooled(scores, labels)
        return margins if self.loss == "margin" else log_odds(model, scores, labels), fools

    def side(self, step: int) -> int:
        """The side of the squares of a step."""
        halvings = bisect_left(_HALVED_AFTER, (step - 1) * 10_000 // self.queries)
        return self.squares.side(self.p_init / 2**halvings)

    def blocks(self, search: "_Search") -> Iterator[tuple[int, range]]:
        """The steps after the first point, in blocks with squares of one side whose numbers are drawn at once."""
        step = 1
        while step < self.queries and len(search.rows) > 0:
            side, stop = self.side(step), step + 1
            most = (1 << 20 if search.rows.is_cuda else 1 << 13) // len(search.rows)
            while stop < min(self.queries, step + most, step + 64) and self.side(stop) == side:
                stop += 1
            yield side, range(step, stop)
            step = stop


class _Search(PerSample):
    """The samples still searched, one row each: where they stand. Images are flat."""

    def __init__(
        self,
        model: CountedModel,
        shape: torch.Size,
        rows: Rows,
        points: Images,
        clean: Images,
        labels: Labels,
        slack: Tensor,
    ) -> None:
        self.model = model
        self.shape = shape
        self.rows = rows
        self.points = points
        self.clean = clean
        self.labels = labels
        self.slack = slack
        self.losses = torch.full_like(slack, torch.inf)
        self.fools = torch.zeros_like(rows, dtype=torch.bool)
        self.done = self.fools.clone()

    def evaluate(self, plan: _Plan) -> Tensor:
        """Query the points as they are: whether each is better than what its sample had so far.

        Of a model that draws, a point that a look finds better is so if independent looks find it as well. These are
        what later points have to beat, so they are many: a point that few put ahead of its worth ends the search.
        """
        images = self.points.view(-1, *self.shape[1:])
        losses, fools = plan.looks(self.model, self.model(images), self.labels)
        better, done = self._is_better(losses, fools), fools
        if self.model.is_wavering:
            rows, done = torch.nonzero(better)[:, 0], torch.zeros_like(fools)
            if len(rows) > 0:
                view, labels = self.model.at(rows), self.labels[rows]
                scores, share = view.looks(images[rows], labels, CLOSE_LOOKS)
                losses[rows], fools[rows] = plan.looks(view, scores, labels)
                done[rows] = view.finished(images[rows], labels, (share == 1) & plan.leave)
                better &= self._is_better(losses, fools)
        self.losses, self.fools = torch.where(better, losses, self.losses), torch.where(better, fools, self.fools)
        self.done |= better & done
        return better

    def _is_better(self, losses: Tensor, fools: Tensor) -> Tensor:
        return torch.where(fools == self.fools, losses < self.losses - self.slack, fools)

    def settle(self, changes: list[Change], kept: Tensor) -> None:
        """Undo the changes of the rows that do not keep them."""
        for change in changes:
            self.points.scatter_(2, change.places, torch.where(rowwise(kept, change.new), change.new, change.old))

    def leave(self, best: _Best, steps: int) -> Tensor:
        """Let the rows that are done go, after so many points; the rows that stay, in their new order."""
        order = torch.arange(len(self.rows), device=self.rows.device)
        best.offer(self.release(~self.done, [order]), steps)
        order = order[: len(self.rows)]
        self.model = self.model.at(order)
        return order


def _run(search: _Search, streams: Streams, plan: _Plan, restart: int, best: _Best) -> None:
    """Search until every sample is done or has had its queries; what is found goes to `best`."""
    squares = plan.squares
    search.evaluate(plan)
    for side, block in plan.blocks(search):
        shape = (squares.numbers,)
        drawn = streams.at(search.rows).uniform(f"squares {restart}", block, shape, search.clean.dtype)
        ahead = squares.plan(drawn, side)
        for place, step in enumerate(block):
            if plan.leave and (step - 1) % search.model.sync_every == 0 and bool(search.done.any()):
                order = search.leave(best, step)
                if len(order) == 0:
                    break
                ahead = tuple(part[:, order] for part in ahead)
            changes = squares.propose(search.points, search.clean, tuple(part[place] for part in ahead), side)
            search.settle(changes, search.evaluate(plan))
    best.offer(search, plan.queries)
