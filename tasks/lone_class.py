"""What cannot be done to a model of one class. Knows nothing of torch."""

from collections.abc import Iterator


def lone_class(name: str, classes: int | None) -> Iterator[str]:
    """Why something that compares a class with another cannot be; nothing where the number is not known."""
    if classes == 1:
        yield f"{name} compares the label with another class, but there is only one"
