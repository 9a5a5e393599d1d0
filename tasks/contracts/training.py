"""What a training promises: a history, and weights that the seed decides. It is tried on three small classes."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import pyarrow as pa
import torch
from torch import Tensor

from tasks.contracts.bench import CPU, classifier_for
from tasks.contracts.declared import read_as_declared, says_what_it_is
from tasks.contracts.intact import left_generator, whatever_the_generator
from tasks.contracts.subject import Subject, UnaskedError, require
from tasks.contracts.toys import patterns
from tasks.model import Classifier
from tasks.model import seeded as drawing_from
from tasks.schema import HISTORY
from tasks.training.loop import Epoch, OnEpoch
from tasks.training.objective import Defense, mean_loss
from tasks.types import Images, Labels, ModelError, Scores, StateError

_SHORT = {"epochs": 3, "batch_size": 16}
"""What a training is given, if it has these parameters: epochs of a few steps."""
Weights = Mapping[str, Tensor]
Noted = TypeVar("Noted")


def returns_a_history(subject: Subject) -> None:
    """It returns a history with the columns of HISTORY: a row for each epoch, numbered from 1, with a finite loss."""
    _, history = _trained(subject)
    require(isinstance(history, pa.Table) and history.schema == HISTORY, "it returned no table of HISTORY")
    numbers, losses = history["epoch"].to_pylist(), torch.tensor(history["loss"].to_pylist())
    require(numbers == list(range(1, len(numbers) + 1)), f"its epochs are numbered {numbers}")
    require(losses.isfinite().all(), "its history has a loss that is not finite")


def learns(subject: Subject) -> None:
    """The loss of the training images is lower than before."""
    split, model, trained = patterns(48, seed=2), _model().eval(), _trained(subject)[0].eval()
    with torch.no_grad():
        before, after = (float(mean_loss(each, split.images, split.labels)[0]) for each in (model, trained))
    require(after < before, f"the loss was {before:.4g} and is {after:.4g}")


def minimises_what_the_defense_says(subject: Subject) -> None:
    """It minimises the loss of the defense, with the penalty and on the images that the defense crafts."""
    asked: list[str] = []

    def crafted(model: Classifier, images: Images, labels: Labels) -> Images:
        asked.append("crafted images")
        return images

    def loss(model: Classifier, images: Images, labels: Labels) -> tuple[Tensor, Scores]:
        asked.append("loss")
        return mean_loss(model, images, (labels + 1) % 3)

    def penalty(model: Classifier, images: Images, labels: Labels) -> Tensor:
        asked.append("penalty")
        return torch.zeros(())

    model, _ = _trained(subject, Defense(craft=crafted, loss=loss, penalty=penalty))
    for part in ("crafted images", "loss", "penalty"):
        require(part in asked, f"it never asked for the defense's {part}")
    require(not _equal(_weights(model), _weights(_trained(subject)[0])), "another loss gives the same weights")


def leaves_torchs_generator(subject: Subject) -> None:
    """Torch's own generator is afterwards where it was."""
    model = _model()
    with left_generator():
        _trained(subject, model=model)


def repeats_itself(subject: Subject) -> None:
    """The same seed gives the same weights, wherever torch's own generator is, and with a defense that draws."""
    for defense in (Defense(), _noisy()):
        first, second = whatever_the_generator(partial(_trained, subject, defense))
        require(_equal(_weights(first[0]), _weights(second[0])), "trained twice from one seed, it has other weights")


def draws_from_its_seed(subject: Subject) -> None:
    """Another seed gives other weights: the order of the images is another."""
    first, second = (_weights(_trained(subject, seed=seed)[0]) for seed in (0, 1))
    require(not _equal(first, second), "it gives the same weights whatever the seed")


def leaves_the_splits_alone(subject: Subject) -> None:
    """The images and labels of both splits are as they were when it is done."""
    train, test = patterns(48, seed=2), patterns(24, seed=3)
    before = [tensor.clone() for split in (train, test) for tensor in (split.images, split.labels)]
    subject.having(**_SHORT | dict(subject.given)).make(_model(), train, test, Defense(), 0, None, None)
    after = [tensor for split in (train, test) for tensor in (split.images, split.labels)]
    require(all(map(torch.equal, before, after)), "it changed the images or the labels")


def tells_of_every_epoch(subject: Subject) -> None:
    """After each epoch it tells its number, of how many, the history so far, and the model in evaluation mode."""
    told: list[Epoch] = []

    def note(epoch: Epoch) -> None:
        require(not epoch.model.training, "after an epoch the model is told of in training mode")
        require(len(epoch.history) == epoch.number, "the history that it tells has not a row for each epoch so far")
        told.append(epoch)

    _, history = _trained(subject, on_epoch=note)
    numbers = [epoch.number for epoch in told]
    require(numbers == history["epoch"].to_pylist(), f"it told of the epochs {numbers}, its history is of others")
    require(all(epoch.number <= epoch.epochs for epoch in told), "it told of more epochs than there will be at most")


def is_not_disturbed_between_epochs(subject: Subject) -> None:
    """What is done with the model after an epoch, and what is drawn then, changes nothing of the training."""

    def meddle(epoch: Epoch) -> None:
        torch.rand(1)
        epoch.model(patterns(3, seed=1).images).sum().backward()

    first, second = (_weights(_trained(subject, on_epoch=on_epoch)[0]) for on_epoch in (None, meddle))
    require(_equal(first, second), "looking at the model after an epoch changed the training")


def goes_on_from_its_state(subject: Subject) -> None:
    """From the state after any epoch it goes on as if it had never stopped, to the same weights and history."""
    for defense in (Defense(), _noisy()):
        states: list[bytes] = []
        whole, history = _trained(subject, defense, on_epoch=_into(states, _state))
        require(len(states) == len(history), "there is not a state after each epoch")
        for number, state in enumerate(states, 1):
            told: list[int] = []
            with torch.random.fork_rng([]):
                torch.manual_seed(number)
                again, found = _trained(subject, defense, state=state, on_epoch=_into(told, _number))
            require(_equal(_weights(again), _weights(whole)), f"cut off after epoch {number} it has other weights")
            require(_untimed(found) == _untimed(history), f"cut off after epoch {number} it has another history")
            require(told == list(range(number + 1, len(states) + 1)), f"cut off after epoch {number} it told of {told}")


def refuses_a_torn_state(subject: Subject) -> None:
    """A state that is torn is refused with a StateError."""
    states: list[bytes] = []
    _trained(subject, on_epoch=_into(states, _state))
    if not states:
        raise UnaskedError("it tells of no epoch")
    for torn in (states[0][: len(states[0]) // 2], b"nonsense" * 100):
        try:
            _trained(subject, state=torn)
        except StateError:
            continue
        require(False, "it went on from a state that is torn")


def refuses_a_loss_that_is_not_finite(subject: Subject) -> None:
    """A loss that is not finite ends it with a ModelError."""

    def loss(model: Classifier, images: Images, labels: Labels) -> tuple[Tensor, Scores]:
        value, scores = mean_loss(model, images, labels)
        return value * torch.inf, scores

    try:
        _trained(subject, Defense(loss=loss))
    except ModelError:
        return
    require(False, "it ended, as if a loss could be infinite")


def _trained(
    subject: Subject,
    defense: Defense | None = None,
    seed: int = 0,
    *,
    model: Classifier | None = None,
    on_epoch: OnEpoch | None = None,
    state: bytes | None = None,
) -> tuple[Classifier, pa.Table]:
    """A model, always the same at first, after a short training, and its history."""
    model, splits = model or _model(), (patterns(48, seed=2), patterns(24, seed=3))
    history = subject.having(**_SHORT | dict(subject.given)).make(
        model, *splits, defense or Defense(), seed, on_epoch, state
    )
    return model, history


def _into(told: list[Noted], noted: Callable[[Epoch], Noted]) -> OnEpoch:
    """Notes something of each epoch."""
    return lambda epoch: told.append(noted(epoch))


def _state(epoch: Epoch) -> bytes:
    return epoch.state()


def _number(epoch: Epoch) -> int:
    return epoch.number


def _model() -> Classifier:
    with drawing_from(0, CPU):
        return classifier_for().train()


def _noisy() -> Defense:
    """Trains on images with noise, from torch's own generator."""
    return Defense(craft=lambda _, images, __: (images + 0.1 * torch.randn_like(images)).clamp(0, 1))


def _weights(model: Classifier) -> Weights:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _untimed(history: pa.Table) -> list[object]:
    return list(history.drop_columns("seconds").to_pylist())


PROMISES: tuple[Callable[[Subject], None], ...] = (
    read_as_declared,
    says_what_it_is,
    returns_a_history,
    learns,
    minimises_what_the_defense_says,
    leaves_the_splits_alone,
    leaves_torchs_generator,
    repeats_itself,
    draws_from_its_seed,
    tells_of_every_epoch,
    is_not_disturbed_between_epochs,
    goes_on_from_its_state,
    refuses_a_torn_state,
    refuses_a_loss_that_is_not_finite,
)
"""In the order in which they are asked: what needs little comes first."""
