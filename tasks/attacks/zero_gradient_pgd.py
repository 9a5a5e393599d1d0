"""PGD that is not after an error but after the end of the gradient: how far it has to go until there is none."""

import torch
from torch import Tensor

from tasks.attacks._ball import Ball, random_point
from tasks.attacks._climb import Walk
from tasks.cases import Budget
from tasks.counted import LOOKS, CountedModel
from tasks.metrics import radius
from tasks.parameters import Count, Positive
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Rows, Steps


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/2405.03777",
    norms=("linf", "l2"),
    budget="eps",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    stops="drawing",
)
def zero_gradient_pgd(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    steps: Count = 40,
    alpha: Positive | None = None,
    random_start: bool = False,
) -> tuple[Images, Steps]:
    """Zero-gradient PGD, https://arxiv.org/abs/2405.03777: PGD on past the error, until every input gradient is 0.

    The paper's capped ReLUs, measured as in Sooksatra's dissertation, Baylor 2025, figures 4.5 to 4.7. Returned is
    the first point where the gradient of the head's loss is exactly 0 in every input value, whether it fools or not,
    and NaN where there was none within `steps` steps: the share of images that came back is the share found, and
    distances are those of the found ones. An image whose gradient is 0 to begin with comes back, after 0 steps.

    `alpha` is in units of eps's space; none means 2.5 eps / steps. Other than in PGD the gradient is the head's
    plain one in the model's own precision, saturated softmax included. The dissertation gives neither steps nor
    start: there is no random one by default, because its length would be part of the distance.
    """
    length = 2.5 * radius(budget) / steps if alpha is None else alpha
    whole, ball = model, Ball(images, budget, model.box)
    walk = Walk.begin(ball.clip(random_point(images, budget, streams, 0)) if random_start else images, labels)
    found, made = torch.full_like(images, torch.nan), torch.zeros_like(labels)
    for step in range(steps + 1):
        gradient, _ = model.ascent(walk.points, walk.labels, "head")
        walk.gradient, going = gradient.contiguous(), gradient.flatten(1).any(1)
        if model.is_wavering:
            going |= _moves_again(model, walk, torch.nonzero(~going)[:, 0])
        if step == steps or step % model.sync_every == 0:
            # One that has found a zero does not move until it is looked at, so it is still where it was found.
            gone = walk.release(going, ball.held)
            found[gone.rows] = gone.points
            if step == steps or len(walk.rows) == 0:
                break
            if len(gone.rows) > 0:
                model, going = whole.at(walk.rows), torch.ones_like(walk.rows, dtype=torch.bool)
        made[walk.rows] += going
        ball.step(walk.points, walk.gradient, length)
    return found, made


def _moves_again(model: CountedModel, walk: Walk, rows: Rows) -> Tensor:
    """Where one look saw no gradient, the `rows`: whether another of as many as settle it sees one, (n,)."""
    moves = torch.zeros_like(walk.rows, dtype=torch.bool)
    for _ in range(LOOKS if len(rows) > 0 else 0):
        gradient, _ = model.at(rows).ascent(walk.points[rows], walk.labels[rows], "head")
        moves[rows] |= gradient.flatten(1).any(1)
    return moves
