"""Where a logistic curve is nearly its tangent at 0, and where it is nearly flat.

The definitions are those of Beckova, Pocos and Farkas 2020, https://doi.org/10.1007/978-3-030-61609-0_6, for a curve
height * s(net / temperature) + constant, where s(z) = 1 / (1 + exp(-z)).
"""

import math
from collections.abc import Callable

from torch import Tensor


def mask_regimes(net: Tensor, bounds: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """(linear, saturated), boolean masks of the shape of `net`: |net| <= r1 and |net| >= r2, where `bounds` = (r1, r2).

    Both are true where r2 <= |net| <= r1.
    """
    magnitude = net.abs()
    return magnitude <= bounds[0], magnitude >= bounds[1]


def logistic_bounds(temperature: float, height: float, *, linear_distance: float, slope: float) -> tuple[float, float]:
    """(r1, r2), both in units of net.

    r1: beyond it the curve is further than `linear_distance` from its tangent at 0, in the Euclidean sense.
    r2: beyond it the curve's derivative is at most `slope`; 0 where it never exceeds that, infinite for a slope of 0.
    """
    norm = math.hypot(1, height / (4 * temperature))
    linear = _last_within(lambda z: height * (z / 4 - math.tanh(z / 2) / 2) / norm, linear_distance)
    # The derivative is height / temperature * s * (1 - s).
    product = slope * temperature / height
    if product >= 0.25:
        return temperature * linear, 0.0
    if product == 0:
        return temperature * linear, math.inf
    steep = (1 + math.sqrt(1 - 4 * product)) / 2
    # log(s / (1 - s)), without the difference: 1 - s is product / s.
    return temperature * linear, temperature * (2 * math.log(steep) - math.log(product))


def _last_within(gap: Callable[[float], float], distance: float) -> float:
    """The largest z >= 0 with gap(z) <= distance, by bisection, for a gap that grows from 0 without bound."""
    low, high = 0.0, 1.0
    while gap(high) <= distance:
        high *= 2
    while low < (middle := (low + high) / 2) < high:
        if gap(middle) <= distance:
            low = middle
        else:
            high = middle
    return low
