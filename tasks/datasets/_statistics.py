"""Whether the mean and the standard deviation that a spec gives can be those of its images. Knows nothing of torch."""

from collections.abc import Iterator, Sequence

_CHANNELS = {"rgb": 3, "grey": 1}


def unfit_statistics(mode: str | None, mean: Sequence[float] | None, std: Sequence[float] | None) -> Iterator[str]:
    """Why they cannot be: not one of each for each channel."""
    channels = _CHANNELS.get(mode or "")
    for name, given in (("mean", mean), ("std", std)):
        if given is not None and channels not in {None, len(given)}:
            yield f"{name} has {len(given)} values, but there are {channels} channels"
    if channels is None and mean is not None and std is not None and len(mean) != len(std):
        yield f"mean has {len(mean)} values and std {len(std)}: there must be one of each for each channel"
