"""How far PGD has to go until there is no gradient left to follow."""

from typing import Literal

from tasks.attacks.zero_gradient_pgd import zero_gradient_pgd
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import distances
from tasks.parameters import Count, Positive
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Measure


@component("probe", version=1, paper="https://arxiv.org/abs/2405.03777")
def zero_gradient_distance(
    model: CountedModel,
    images: Images,
    labels: Labels,
    streams: Streams,
    *,
    norm: Literal["linf", "l2"] = "linf",
    eps: Positive = 0.078125,
    steps: Count = 20,
    alpha: Positive | None = 0.0078125,
) -> list[Measure]:
    """Distance to the nearest visited point of zero gradient, https://arxiv.org/abs/2405.03777.

    The paper's capped ReLUs, measured as in Sooksatra's dissertation, Baylor 2025, figures 4.5 to 4.7. PGD from the
    image itself, which does not end at an error but where the gradient of the head's loss is exactly 0 in every input
    value (see the attack `zero_gradient_pgd`). Per image: `found`, whether it came to such a point; its distances `l2`
    and `linf` from the image, in units of pixels in [0, 1], none where there was no such point; and `steps`, the steps
    made. The dissertation averages the distance over images where one was found: report the share found with it, and
    read neither as robustness, for where the gradient is 0 an attack is blind and the image no safer.

    The dissertation does not say how far it went: `eps`, `steps` and `alpha` are those of its section 3.1, 20/256, 20
    and 2/256. `alpha` none means 2.5 eps / steps.
    """
    points, made = zero_gradient_pgd(model, images, labels, Budget(norm, eps), streams, steps=steps, alpha=alpha)
    away = distances(points, images)
    return [
        Measure("found", ~points.isnan().flatten(1).any(1)),
        Measure("l2", away["l2"]),
        Measure("linf", away["linf"]),
        Measure("steps", made.double()),
    ]
