"""What a defense is: how the loss of a batch is made, and what is put into the model. The training loop knows no more.

A defense fills in the parts that are its own, and several of them go together. Knows nothing of optimisers or epochs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from tasks.model import Classifier
from tasks.types import Images, Labels, Scores, TaskError

Craft: TypeAlias = Callable[[Classifier, Images, Labels], Images]
Loss: TypeAlias = Callable[[Classifier, Images, Labels], tuple[Tensor, Scores]]
Penalty: TypeAlias = Callable[[Classifier, Images, Labels], Tensor]


@dataclass(frozen=True)
class Defense:
    """How a cell is trained, and what is put into its model. Each part may be left out; `natural` leaves out all.

    `craft`: the images, (batch, *shape) in [0, 1], that are trained on in place of the clean ones. `loss`: the loss of
    the batch, a scalar to differentiate, and the scores that it was measured on, (batch, classes); by default the mean
    of the head's own losses. `penalty`: a scalar that is added; it is given what the loss is. `adapt` changes the model
    in place when it is built, before any weights are loaded. `taught` makes the defense that is trained with from the
    model of the cell that is trained before this one, frozen and in evaluation mode.
    """

    craft: Craft | None = None
    loss: Loss | None = None
    penalty: Penalty | None = None
    adapt: Callable[[Classifier], None] | None = None
    taught: Callable[[Classifier], "Defense"] | None = None


def objective(defense: Defense, model: Classifier) -> Loss:
    """What is minimised: the loss of a batch with all that is added to it, and the scores it was measured on."""
    craft, own, penalty = defense.craft, defense.loss or mean_loss, defense.penalty
    of_modules: list[Callable[[], Tensor]] = [
        getattr(module, "penalty")  # noqa: B009 - a module's attributes are untyped
        for module in _with_penalties(model)
    ]

    def total(model: Classifier, images: Images, labels: Labels) -> tuple[Tensor, Scores]:
        seen = craft(model, images, labels) if craft else images
        loss, scores = own(model, seen, labels)
        if penalty:
            loss = loss + penalty(model, seen, labels)
        for each in of_modules:
            loss = loss + each()
        return loss, scores

    return total


def adds_to_loss(defense: Defense, model: Classifier) -> bool:
    """Whether what is minimised is more than the mean of the head's own losses on the images as they are.

    A module whose penalty has no weight says `is_penalised = False`.
    """
    of_defense = defense.craft or defense.loss or defense.penalty
    return bool(of_defense) or any(getattr(module, "is_penalised", True) for module in _with_penalties(model))


def _with_penalties(model: Classifier) -> Iterator[nn.Module]:
    return (module for module in model.modules() if callable(getattr(type(module), "penalty", None)))


def mean_loss(model: Classifier, images: Images, labels: Labels) -> tuple[Tensor, Scores]:
    """The mean of the head's own losses, and the scores."""
    scores = model(images)
    return model.losses(scores, labels).mean(), scores


def combine(parts: Sequence[Defense]) -> Defense:
    """Several defenses as one: each crafts from what the one before crafted, penalties are summed.

    Raises TaskError where two of them have a loss of their own, or learn from another model.
    """
    for part in ("loss", "taught"):
        if sum(getattr(defense, part) is not None for defense in parts) > 1:
            raise TaskError(f"more than one of the defenses has its own {part}")
    crafts = [defense.craft for defense in parts if defense.craft]
    penalties = [defense.penalty for defense in parts if defense.penalty]
    adapts = [defense.adapt for defense in parts if defense.adapt]
    taught = next((defense.taught for defense in parts if defense.taught), None)
    return Defense(
        craft=_in_turn(crafts) if crafts else None,
        loss=next((defense.loss for defense in parts if defense.loss), None),
        penalty=_summed(penalties) if penalties else None,
        adapt=_all(adapts) if adapts else None,
        taught=_taught_beside(taught, [d for d in parts if d.taught is None]) if taught else None,
    )


def _in_turn(crafts: Sequence[Craft]) -> Craft:
    def craft(model: Classifier, images: Images, labels: Labels) -> Images:
        for each in crafts:
            images = each(model, images, labels)
        return images

    return craft


def _summed(penalties: Sequence[Penalty]) -> Penalty:
    def penalty(model: Classifier, images: Images, labels: Labels) -> Tensor:
        first, *others = (each(model, images, labels) for each in penalties)
        return sum(others, first)

    return penalty


def _all(adapts: Sequence[Callable[[Classifier], None]]) -> Callable[[Classifier], None]:
    def adapt(model: Classifier) -> None:
        for each in adapts:
            each(model)

    return adapt


def _taught_beside(
    taught: Callable[[Classifier], Defense], others: Sequence[Defense]
) -> Callable[[Classifier], Defense]:
    """Learns from the teacher, and does what the others do."""
    return lambda teacher: combine([taught(teacher), *others])
