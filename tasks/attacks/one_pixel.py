"""The one-pixel attack: differential evolution over the places and colours of a few pixels, on scores alone."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from tasks.attacks._candidates import children, decoded, first_members, paint
from tasks.attacks._log_odds import log_odds
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import slack
from tasks.parameters import Count, CountOrZero, Share
from tasks.per_sample import PerSample
from tasks.refusals import refuse
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Rows, Scores, Steps

Stop = Literal["success", "confidence", "never"]


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1710.08864",
    norms=("l0",),
    budget="minimal",
    knowledge="score",
    targeting=("untargeted", "targeted"),
    stops=True,
)
def one_pixel(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    pixels: Count = 1,
    population: Count = 400,
    generations: CountOrZero = 100,
    stop: Literal["success", "confidence", "never"] = "success",
    untargeted_stop: Share = 0.1,
    targeted_stop: Share = 0.5,
) -> tuple[Images, Steps]:
    """One-pixel attack, https://arxiv.org/abs/1710.08864: the places and colours of `pixels` pixels, by evolution.

    Su et al. 2019, section III. A member of the population is a place and a colour in [0, 1] for each pixel; at first
    places are uniform and colours N(0.5, 0.5), clipped. Its child is a + (b - c) / 2 of three different members drawn
    at random, without crossover; what is out of range is drawn anew, uniformly. It replaces its parent if the true
    class is less likely with it, or the target likelier. (One of the studies prints b + c; its code has the minus.)

    Returned is the best candidate evaluated that fools, else the best one, else the image. A sample is done when it is
    finished (`tasks.counted`): in a transfer after all generations. Candidates of a model that draws are worth the mean
    of several looks. The published procedure is stop: confidence: done when the true class is less likely than
    `untargeted_stop`, or the target likelier than `targeted_stop`, whatever the prediction. Steps are generations.
    Candidates are ranked by log-odds in float64: the same order, but on a sure model float32 has no other likelihoods
    than 1. An image that the model errs on anyway is returned as it is.
    """
    refuse(AttackError, refuses(population=population))

    images = images.contiguous()
    found, steps = images.clone(), torch.zeros_like(labels)
    with torch.no_grad():
        scores, share = model.looks(images, labels)
        rows = torch.nonzero(share < 1)[:, 0]
        fitness = log_odds(model, scores, labels)
        # Better is what is so by more than rounding, which depends on who else is in the batch.
        rounding = slack(scores).double()
        together, at_once = (max(1, values // images.shape[1:].numel()) for values in _sizes(images))
        # Samples have nothing to do with each other: some go through all their generations, then some more.
        for some in torch.split(rows, max(1, together // population)) if len(rows) > 0 else ():
            members = first_members(streams.at(some), images, population, pixels)
            search = _Search(model.at(some), some, images[some], labels[some], fitness[some], rounding[some], members)
            search.advance(members, at_once)
            for generation in range(1, generations + 1):
                search = search.without(search.is_over(stop, untargeted_stop, targeted_stop), found)
                if len(search.rows) == 0:
                    break
                steps[search.rows] = generation
                drawn = search.draw(streams, range(generation, generations + 1))
                search.advance(children(search.members, drawn), at_once)
            search.without(torch.ones_like(search.fools), found)
    return found, steps


def refuses(*, population: int) -> Iterator[str]:
    """A population that is too small to evolve."""
    if population < 3:
        yield f"one_pixel draws three different members of a population of {population}"


class _Search(PerSample):
    """Samples among their generations, one row each.

    `members` are (n, population, pixels, 2 + channels): places, as shares of height and width, and colours; `fitness`
    is theirs, (n, population), lower is better. `best`, (n, pixels, 2 + channels), is the best candidate evaluated; it
    is NaN where that is the image itself. `drawn`, (n, generations, ...), are the numbers of the next generations.
    """

    canvas: tuple[Images, CountedModel] | None = None
    """The images, each as often as it has candidates in a pass, and the model for these."""

    def __init__(
        self,
        model: CountedModel,
        rows: Rows,
        images: Images,
        labels: Labels,
        fitness: Tensor,
        slack: Tensor,
        members: Tensor,
    ) -> None:
        self.model = model
        self.rows = rows
        self.images = images
        self.labels = labels
        self.slack = slack
        self.members = members
        self.fitness = torch.full(members.shape[:2], torch.inf, dtype=fitness.dtype, device=rows.device)
        self.best = torch.full_like(members[:, 0], torch.nan)
        self.best_fitness = fitness
        self.fools, self.done = (torch.zeros_like(rows, dtype=torch.bool) for _ in range(2))
        self.drawn = members.new_empty(len(rows), 0)

    def is_over(self, stop: Stop, untargeted_stop: float, targeted_stop: float) -> Tensor:
        """Which samples have what they are after, (n,)."""
        lowest = self.best_fitness if self.model.is_wavering else self.fitness.amin(1)
        if stop == "confidence" and self.model.targets is None:
            return lowest.sigmoid() < untargeted_stop
        if stop == "confidence":
            return (-lowest).sigmoid() > targeted_stop
        return self.done if stop == "success" and self.model.may_finish else torch.zeros_like(self.done)

    def draw(self, streams: Streams, ahead: range) -> Tensor:
        """The numbers of the next generation, (n, population, 3 + genes): those of several are drawn at once."""
        if self.drawn.shape[1] == 0:
            shape = (self.members.shape[1], 3 + self.members[0, 0].numel())
            size = len(self.rows) * shape[0] * shape[1]
            block = ahead[: min(8, max(1, (1 << 22 if self.rows.is_cuda else 1 << 16) // size))]
            drawn = streams.at(self.rows).uniform("children", block, shape, self.members.dtype)
            self.drawn = drawn.transpose(0, 1)
        drawn, self.drawn = self.drawn[:, 0], self.drawn[:, 1:]
        return drawn

    def advance(self, candidates: Tensor, at_once: int) -> None:
        """Evaluate a candidate for each member, at most `at_once` in a pass; the better ones take their places.

        Of a model that draws, every candidate is worth what several looks make of it, and of these the one that they
        put forward what further ones do.
        """
        own = torch.arange(len(self.rows), device=self.rows.device).repeat_interleave(candidates.shape[1])
        model, labels = self.model.at(own), self.labels[own]
        places, colours = decoded(candidates, self.model, self.images)
        batches = -(-len(own) // at_once)
        parts = zip(places.chunk(batches, 1), colours.chunk(batches, 1), strict=True)
        scores = torch.cat([self._scores(*part) for part in parts], 1).flatten(0, 1)
        fitness = log_odds(model, scores, labels).view(len(self.rows), -1)
        fools = model.fooled(scores, labels).view_as(fitness)
        fooling = fools.any(1)
        lowest, place = fitness.masked_fill(fools != fooling[:, None], torch.inf).min(1)
        chosen = candidates[torch.arange(len(place), device=place.device), place]
        better, agree = self._is_better(lowest, fooling), fooling
        if self.model.is_wavering:
            lowest, fooling, agree = self._looked_at(chosen, torch.nonzero(better)[:, 0], lowest, fooling)
            better &= self._is_better(lowest, fooling)
        self.best = torch.where(better[:, None, None], chosen, self.best)
        self.best_fitness = torch.where(better, lowest, self.best_fitness)
        self.fools, self.done = torch.where(better, fooling, self.fools), self.done | (better & agree)
        fitter = fitness < self.fitness - self.slack[:, None]
        self.members = torch.where(fitter[:, :, None, None], candidates, self.members)
        self.fitness = torch.where(fitter, fitness, self.fitness)

    def _is_better(self, fitness: Tensor, fools: Tensor) -> Tensor:
        return torch.where(fools == self.fools, fitness < self.best_fitness - self.slack, fools)

    def _looked_at(self, chosen: Tensor, rows: Rows, fitness: Tensor, fools: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A candidate for each sample: its fitness, whether it fools, whether all looks agree; for some rows anew."""
        fitness, fools, agree = fitness.clone(), fools.clone(), torch.zeros_like(fools)
        if len(rows) > 0:
            view, labels = self.model.at(rows), self.labels[rows]
            painted = self._painted_with(chosen, rows)
            scores, share = view.looks(painted, labels)
            agree[rows] = view.confirmed(painted, labels, share >= 1)
            fitness[rows], fools[rows] = log_odds(view, scores, labels), view.fooled(scores, labels)
        return fitness, fools, agree

    def _painted_with(self, candidates: Tensor, rows: Rows) -> Images:
        """The images of some rows, each with its candidate, of those for all rows, painted."""
        painted = self.images[rows]
        places, colours = decoded(candidates[rows][:, None], self.model, self.images)
        paint(painted.flatten(2), places[:, 0], colours[:, 0])
        return painted

    def _scores(self, places: Tensor, colours: Tensor) -> Scores:
        """The scores with some candidates painted, (n, candidates, classes)."""
        count = places.shape[1]
        if self.canvas is None or len(self.canvas[0]) != len(self.rows) * count:
            own = torch.arange(len(self.rows), device=self.rows.device).repeat_interleave(count)
            self.canvas = self.images.repeat_interleave(count, 0), self.model.at(own)
        canvas, painter = self.canvas
        flat, places = canvas.flatten(2), places.flatten(0, 1)
        before = flat.gather(2, places)
        paint(flat, places, colours.flatten(0, 1))
        scores = painter.looks(canvas, self.labels.repeat_interleave(count)).scores
        flat.scatter_(2, places, before)  # the canvas is clean again
        return scores.view(len(self.rows), count, -1)

    def without(self, gone: Tensor, found: Images) -> "_Search":
        """The search of the others, when samples go, (n,), and what was found for them has been written."""
        if not bool(gone.any()):
            return self
        ready = torch.nonzero(gone & ~self.best[:, 0, 0].isnan())[:, 0]
        found[self.rows[ready]] = self._painted_with(self.best, ready)
        going = torch.nonzero(~gone)[:, 0]
        others = self.at(going)
        others.model, others.canvas = self.model.at(going), None
        return others


def _sizes(images: Images) -> tuple[int, int]:
    """How many pixel values to work on together, and in one pass: on a CPU convolutions slow down beyond its cache."""
    return (1 << 24, 1 << 24) if images.is_cuda else (1 << 21, 1 << 18)
