"""Universal adversarial perturbations: one perturbation for all images, fitted before the first is attacked."""

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor

from tasks.attacks._fitting_set import too_many
from tasks.attacks._universal_methods import Fitting, deepfool_pass, gradient_pass
from tasks.cases import Budget, Norm
from tasks.counted import CountedModel
from tasks.parameters import Count, NonNegative, Positive, Share
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Prepared, Steps


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1610.08401",
    norms=("linf", "l2"),
    budget="eps",
    knowledge="white-box",
    targeting=("untargeted",),
    prepared=True,
)
def universal(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    state: Mapping[str, Tensor],
    *,
    method: Literal["gradient", "deepfool", "deepfool_linf"] = "gradient",  # all of these are for `prepare`
    passes: Count = 10,
    delta: Share = 0.0,
    batch: Count = 50,
    alpha: Positive = 0.2,
    steps: Count = 10,
    overshoot: NonNegative = 0.02,
    candidates: Count | None = 2,
    fit_split: Literal["train", "test"] = "train",
    fit_samples: Count | None = 1000,
) -> tuple[Images, Steps]:
    """Universal perturbation, https://arxiv.org/abs/1610.08401: x + v, clipped to the box if any; v is fitted before.

    Moosavi-Dezfooli et al. 2017. v, of norm eps at most in units of the budget's space, is fitted to `fit_samples`
    images of another split than the one attacked, and changes the predictions of as many of them as it can: the
    fooling rate. There are `passes` over them, fewer once the rate is 1 - `delta`; the v that was best after a pass
    is kept. An attacked image costs no pass of the model and is 1 step.

    "gradient" is algorithm 2 of Shafahi et al. 2020, https://arxiv.org/abs/1811.11304: steps of `alpha` eps, shrinking
    to none, up the summed gradients of `batch` images. These are of log-odds, not of losses: every image pulls about
    as much as any other, however sure the model is, so that the paper's clipping of large losses is not needed.

    "deepfool" is algorithm 1 of the first paper: in random order, each correctly classified image that v does not fool
    adds its DeepFool perturbation at x + v (l2, at most `steps`, `overshoot`), and v is projected on the ball. Each
    step measures the `candidates` class boundaries that were last seen nearest, with null all. It is slower and often
    fools less. "deepfool_linf" is the same with DeepFool's linf steps, whatever the ball. The study of Alvarez Cabrera
    2020 has passes 10, delta 0.2, candidates null, fit_split: test, 1000 samples in natural order, standardised units
    and no box, and in linf DeepFool's linf steps.
    """
    perturbation = state["perturbation"].to(images.device, images.dtype)
    return (images + perturbation).clamp(*model.box), torch.ones_like(labels)


def prepare(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    method: Literal["gradient", "deepfool", "deepfool_linf"] = "gradient",
    passes: Count = 10,
    delta: Share = 0.0,
    batch: Count = 50,
    alpha: Positive = 0.2,
    steps: Count = 10,
    overshoot: NonNegative = 0.02,
    candidates: Count | None = 2,
    fit_split: Literal["train", "test"] = "train",  # this and the next are read by what brings the fitting set
    fit_samples: Count | None = 1000,
) -> Prepared:
    """Fit the perturbation to the images.

    State: `perturbation`, (1, channels, height, width), in the budget's space. Facts: `fooling_rate`, the share of all
    fitting images whose prediction it changes, as both papers and the study count; `fooling_rate_correct`, the share
    of the correctly classified ones; the `passes` made, the `best_pass` that it is from, and its `norm`.
    """
    if method == "gradient":
        go = gradient_pass(batch=batch, alpha=alpha, passes=passes)
    else:
        norm: Norm = "l2" if method == "deepfool" else "linf"
        go = deepfool_pass(norm, steps=steps, overshoot=overshoot, candidates=candidates)
    fitting = Fitting(model, images, labels, budget, streams)
    perturbation = best = images.new_zeros(1, *images.shape[1:])
    fooled, made, best_pass = torch.zeros_like(fitting.correct), 0, 0
    while made < passes and len(images) > 0 and float(fooled.double().mean()) < 1 - delta:
        perturbation, made = go(fitting, perturbation, made), made + 1
        found = fitting.fooled(fitting.rows, perturbation)
        if int(found.sum()) > int(fooled.sum()):
            best, fooled, best_pass = perturbation, found, made
    order = 2 if budget.norm == "l2" else torch.inf
    facts = {
        "fooling_rate": _share(fooled),
        "fooling_rate_correct": _share(fooled[fitting.correct]),
        "passes": float(made),
        "best_pass": float(best_pass),
        "norm": float(torch.linalg.vector_norm(best, order)),
    }
    return Prepared({"perturbation": best}, facts)


def _share(hits: Tensor) -> float:
    return float(hits.double().mean()) if len(hits) > 0 else 0.0


def refuses(
    *, fit_split: str, fit_samples: int | None, samples: int | None = None, train_samples: int | None = None
) -> Iterator[str]:
    """More images to fit than there are."""
    yield from too_many(fit_split, fit_samples, samples if fit_split == "test" else train_samples)
