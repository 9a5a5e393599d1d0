"""Whether a split has as many images as a prepare step is to be fitted to. Knows nothing of torch."""

from collections.abc import Iterator


def too_many(fit_split: str, fit_samples: int | None, there: int | None) -> Iterator[str]:
    """Why so many images of a split cannot be had, if it is known how many there are."""
    if fit_samples is not None and there is not None and fit_samples > there:
        yield f"fit_samples is {fit_samples}, but the {fit_split} split has {there}"
