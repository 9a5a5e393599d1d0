"""Whether there are enough images for what a training is to hold out and to learn from. Knows nothing of torch."""

from collections.abc import Iterator


def num_held_out(there: int, share: float) -> int:
    """How many of the training images are held out."""
    return round(share * there)


def too_few(there: int, validation: float, samples: int | None) -> Iterator[str]:
    """Why a training cannot have what it wants of so many images: a part would be empty, or there are not as many."""
    held_out = num_held_out(there, validation)
    if validation and not 0 < held_out < there:
        yield f"validation: {validation} of {there} training images is {held_out}: one part would be empty"
    elif samples is not None and samples > there - held_out:
        yield f"training: samples is {samples}, but there are {there - held_out} training images"
