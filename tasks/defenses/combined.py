"""Several defenses at once, as studies that stack them do."""

from tasks.parameters import Defenses
from tasks.registry import component
from tasks.training.objective import Defense, combine


@component("defense", version=1)
def combined(*, parts: Defenses) -> Defense:
    """Several defenses together, in a spec `combined: [label_smoothing, {pgd_training: {eps: 8/255}}]`.

    Each crafts from what the one before has crafted, changes the model after it, and adds its penalty. Raises
    TaskError where two of them have a loss of their own, or learn from another model.
    """
    return combine(parts)
