"""Projected gradient descent: steps up a loss in the budget's ball."""

from collections.abc import Iterator
from typing import Literal

from tasks.attacks._ball import Ball, random_point
from tasks.attacks._climb import Climb, ascend, climb, unfinished
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import radius
from tasks.parameters import Count, Positive
from tasks.refusals import refuse
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Steps


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1706.06083",
    norms=("linf", "l2"),
    budget="eps",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    stops=True,
    added={"returns": "best"},
)
def pgd(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    steps: Count = 40,
    alpha: Positive | None = None,
    random_start: bool = True,
    restarts: Count = 1,
    gradient: Literal["log_odds", "head"] = "log_odds",
    stop: Literal["success", "never"] = "success",
    returns: Literal["best", "last"] = "best",
) -> tuple[Images, Steps]:
    """PGD, https://arxiv.org/abs/1706.06083: steps of `alpha` up the head's loss, projected on ball and box.

    Madry et al. 2018, section 2.1. `alpha` is in units of eps's space; none means 2.5 eps / steps. `restarts`
    are made from new random points, for samples that are not finished yet; without `random_start` there is one climb.
    With targets the steps go up the target's log-likelihood. A sample is finished at the first point that reaches the
    aim, as far as the model lets it: see `tasks.counted`. Of any other, and with stop: never, the evaluated point with
    the smallest margin is returned, on a model that draws numbers that or the last one, as independent looks say; with
    returns: last, as in most studies, the last one, which nobody has looked at, after all steps. `gradient` is as in
    FGSM: that of the log-odds does not vanish where the head is saturated, the head's own does, as in most published
    work.
    """
    refuse(AttackError, refuses(random_start=random_start, restarts=restarts, returns=returns))
    length = 2.5 * radius(budget) / steps if alpha is None else alpha

    def begin(clean: Images, streams: Streams, restart: int) -> tuple[Images, Ball]:
        ball = Ball(clean, budget, model.box)
        return (ball.clip(random_point(clean, budget, streams, restart)) if random_start else clean), ball

    def once(model: CountedModel, clean: Images, labels: Labels, streams: Streams, restart: int) -> Climb:
        start, ball = begin(clean, streams, restart)
        return climb(model, start, labels, ball, length=length, steps=steps, stop=stop, of=gradient)

    if returns == "last":
        start, ball = begin(images, streams, 0)
        return ascend(model, start, labels, ball, length=length, steps=steps, of=gradient)
    best = once(model, images, labels, streams, 0)
    for restart in range(1, restarts if random_start else 1):
        rows = unfinished(model, best.standing)
        if len(rows) == 0:
            break
        best.merge(rows, once(model.at(rows), images[rows], labels[rows], streams.at(rows), restart))
    return best.images, best.steps


def refuses(*, random_start: bool, restarts: int, returns: str) -> Iterator[str]:
    """Several restarts of which the last point is to count."""
    if returns == "last" and restarts > 1 and random_start:
        yield "pgd: returns: last is the last point of one climb, so there is nothing to choose from: give restarts: 1"
