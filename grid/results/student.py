"""The t interval of a mean of few values, in Python and in SQL by the same numbers (Student 1908)."""

import math

QUANTILES = (
    *(12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139),
    *(2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963),
    *(2.079614, 2.073873, 2.068658, 2.063899, 2.059539, 2.055529, 2.051831, 2.048407, 2.045230, 2.042272),
)
"""The 97.5 % quantiles of Student's t with 1, 2, ..., 30 degrees of freedom."""

_NORMAL = 1.959964
_FIRST = (_NORMAL**3 + _NORMAL) / 4
_SECOND = (5 * _NORMAL**5 + 16 * _NORMAL**3 + 3 * _NORMAL) / 96
"""Terms of the expansion for more of them: Abramowitz and Stegun 26.7.5."""


def quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t with so many degrees of freedom, at least 1; within 1e-4."""
    if freedom <= len(QUANTILES):
        return QUANTILES[freedom - 1]
    return _NORMAL + _FIRST / freedom + _SECOND / freedom**2


def radius(deviation: float, count: int) -> float | None:
    """Half of the 95 % t interval of the mean of `count` values with this sample deviation; None of one alone."""
    return quantile(count - 1) * deviation / math.sqrt(count) if count > 1 else None


def student_macros() -> str:
    """The statement that defines student_quantile(freedom) in SQL, as `quantile` here."""
    listed = ", ".join(f"{value}e0" for value in QUANTILES)
    return (
        f"CREATE MACRO student_quantile(freedom) AS CASE WHEN freedom BETWEEN 1 AND {len(QUANTILES)} "
        f"THEN ([{listed}])[freedom] WHEN freedom > 1 "
        f"THEN {_NORMAL}e0 + {_FIRST}e0 / freedom + {_SECOND}e0 / freedom ** 2 END;\n"
    )
