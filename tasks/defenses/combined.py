"""Several defenses at once, as studies that stack them do."""

from collections.abc import Iterator
from typing import Any

from tasks.parameters import Defenses
from tasks.registry import component
from tasks.training.objective import Defense, combine


@component("defense", version=1, adds_to_loss=False)
def combined(*, parts: Defenses) -> Defense:
    """Several defenses together, in a spec `combined: [label_smoothing, {pgd_training: {eps: 8/255}}]`.

    Each crafts from what the one before has crafted, changes the model after it, and adds its penalty. Raises
    TaskError where two of them have a loss of their own, or learn from another model.
    """
    return combine(parts)


def refuses(*, parts: list[Any]) -> Iterator[str]:
    """Two parts with a loss of their own, or two that learn from another model. Each is a `tasks.refusals.Part`."""
    with_loss = [part.name for part in parts if part.facts.has_loss(part.parameters)]
    taught = [part.name for part in parts if part.facts.has_base(part.parameters)]
    for names, what in ((with_loss, "a loss of their own"), (taught, "a model that they learn from")):
        if len(names) > 1:
            yield f"combined: {' and '.join(names)} each have {what}, and there can be but one"
