"""Training on clean images: no defense."""

from tasks.registry import component
from tasks.training.objective import Defense


@component("defense", version=1, adds_to_loss=False)
def natural() -> Defense:
    """The mean of the head's own losses, such as the negative log-likelihood of the true classes."""
    return Defense()
