"""The training `standard`: the usual optimizers, schedules and rules of when to stop and which epoch to keep.

Says what its parameters mean for the parts of `tasks/training`. Knows nothing of cells.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import pyarrow as pa

from tasks.amounts import too_few
from tasks.model import Classifier
from tasks.parameters import Count, CountOrZero, NonNegative, Positive, Rate
from tasks.refusals import refuse
from tasks.registry import component
from tasks.schema import HISTORY
from tasks.training.batches import Epochs, on
from tasks.training.history import History, values, watched
from tasks.training.keeping import Keeping
from tasks.training.loop import Loop, OnEpoch
from tasks.training.objective import Defense, adds_to_loss, objective
from tasks.training.schedule import FACTORS, Schedule
from tasks.training.step import Step, least_batch, make_optimizer
from tasks.training.stopping import Stopping
from tasks.types import Split, TaskError

_DECIDED_BY: Mapping[str, Callable[[History], Sequence[float]]] = {
    "best_validation": partial(values, column="validation_accuracy"),
    "best_test": partial(values, column="test_accuracy"),
    "best_watched": lambda history: [-loss for loss in watched(history)],
}


@component(
    "training",
    version=2,
    paper="https://arxiv.org/abs/1412.6980",
    added={"watch": "head"},
    unwatched={
        "early_stopping": (None,),
        "schedule": ("none", "cosine", "step"),
        "checkpoint": ("last", "best_validation", "best_test"),
    },
)
def standard(
    model: Classifier,
    train: Split,
    test: Split,
    defense: Defense,
    seed: int,
    on_epoch: OnEpoch | None = None,
    state: bytes | None = None,
    *,
    epochs: Count = 10,
    optimizer: Literal["adam", "adamw", "sgd"] = "adam",
    lr: Positive = 1e-3,
    batch_size: Count = 128,
    momentum: Rate = 0.0,
    nesterov: bool = False,
    weight_decay: NonNegative = 0.0,
    schedule: Literal["none", "cosine", "step", "plateau"] = "none",
    cosine_t_max: Count | None = None,
    milestones: list[Count] = [],  # noqa: B006 - read from the source as a literal, and never changed
    factor: Positive | None = None,
    patience: Count = 5,
    early_stopping: Count | None = None,
    validation: Rate = 0.0,
    samples: Count | None = None,
    checkpoint: Literal["last", "best_validation", "best_test", "best_watched"] = "last",
    test_accuracy: Literal["last", "each"] = "last",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    natural_epochs: CountOrZero = 0,
    watch: Literal["objective", "head"] = "objective",
) -> pa.Table:
    """Minimise the defense's loss over shuffled batches, in place: a table of HISTORY, one row per epoch.

    `weight_decay` is an L2 penalty (adamw: decoupled). Schedules, at epoch e: `cosine` takes
    lr (1 + cos(pi (e - 1) / cosine_t_max)) / 2, where `cosine_t_max` is `epochs` unless given; `step` multiplies by
    `factor` (0.1) after each of the epochs in `milestones`; `plateau` multiplies by `factor` (0.5) when the
    watched loss has not fallen for `patience` epochs. `early_stopping` ends the training when it has not fallen
    for so many. A share `validation` of the training images, drawn once, is held out, and `samples` of the others,
    drawn once, are trained on (none: all). Where a last batch of one image would leave a batch normalisation a single
    value, which has no variance, that image joins the batch before.

    The watched loss is the mean on the images held out of all that is minimised: the defense's loss on what it crafts
    of them, with its penalties and those of the activations, as Keras' val_loss has them. `watch` "head" is the head's
    own loss on the images as they are, which may end a training before a penalty has done anything: trainable caps
    that start above all activations are then never reached. Where nothing is added to the head's loss the two are one.
    `checkpoint` says which epoch's weights remain; of equal ones, the earliest: `best_validation` and `best_test` go by
    accuracy, `best_watched` by the watched loss. The test accuracy is measured after
    the last epoch, and with `best_test` or `test_accuracy: each` after every one. `precision` is that of the passes
    (autocast; float16 with a scaled loss, and slow on a CPU); weights, optimizer and evaluation are float32.
    With `natural_epochs` the weights to begin with are those of the same cell trained so long without a defense: it
    is a cell of its own, trained before. Raises ModelError and TaskError as `train` does.
    """
    refuse(
        TaskError,
        refuses(
            optimizer=optimizer,
            momentum=momentum,
            nesterov=nesterov,
            schedule=schedule,
            cosine_t_max=cosine_t_max,
            milestones=milestones,
            factor=factor,
            early_stopping=early_stopping,
            validation=validation,
            samples=samples,
            checkpoint=checkpoint,
            train_samples=len(train.labels),
        ),
    )
    device = model.mean.device
    stepper = make_optimizer(model, optimizer, momentum, weight_decay, nesterov=nesterov)
    minimised = objective(defense, model)
    decides = decides_by_watching(early_stopping=early_stopping, schedule=schedule, checkpoint=checkpoint)
    loop = Loop(
        step=Step(model, minimised, stepper, precision),
        learned=Epochs(train, device, seed, validation, samples),
        tested=on(device, test),
        batch_size=batch_size,
        seed=seed,
        tests_each=checkpoint == "best_test" or test_accuracy == "each",
        schedule=Schedule(schedule, lr, cosine_t_max or epochs, milestones, factor, patience),
        stopping=Stopping(epochs, early_stopping),
        keeping=Keeping(_DECIDED_BY.get(checkpoint)),
        least=least_batch(model, on(device, test).batch(slice(1))[0]),
        watched=minimised if watch == "objective" and decides and adds_to_loss(defense, model) else None,
    )
    return pa.Table.from_pylist(loop.run(state, on_epoch), schema=HISTORY)


def refuses(
    *,
    optimizer: str,
    momentum: float,
    nesterov: bool,
    schedule: str,
    cosine_t_max: int | None,
    milestones: Sequence[int],
    factor: float | None,
    early_stopping: int | None,
    validation: float,
    samples: int | None,
    checkpoint: str,
    natural_epochs: int = 0,
    train_samples: int | None = None,
    defense: Any = None,  # noqa: ANN401 - a `tasks.refusals.Part`
) -> Iterator[str]:
    """Parameters that contradict each other, more images than there are, and natural epochs before a teacher's."""
    wrong = {
        "momentum and nesterov are for the optimizer sgd": (momentum > 0 or nesterov) and optimizer != "sgd",
        "nesterov needs a momentum": nesterov and not momentum,
        "cosine_t_max is for the schedule cosine": cosine_t_max is not None and schedule != "cosine",
        "milestones are for the schedule step, which needs them": bool(milestones) != (schedule == "step"),
        "factor is for the schedules step and plateau": factor is not None and schedule not in FACTORS,
        **{
            _needs_validation(f"checkpoint {best}"): checkpoint == best and not validation
            for best in ("best_validation", "best_watched")
        },
        _needs_validation("the schedule plateau"): schedule == "plateau" and not validation,
        _needs_validation("early_stopping"): early_stopping is not None and not validation,
    }
    yield from (f"training: {text}" for text, is_wrong in wrong.items() if is_wrong)
    if train_samples is not None:
        yield from too_few(train_samples, validation, samples)
    if natural_epochs and defense is not None and any(each.facts.has_base(each.parameters) for each in defense.all):
        yield f"training: {defense.name} learns from a model of its own, so that natural_epochs cannot go with it"


def decides_by_watching(*, early_stopping: int | None, schedule: str, checkpoint: str) -> bool:
    """Whether a training decides anything by the loss it watches; as the fact `unwatched` has it, which ids go by."""
    return early_stopping is not None or schedule == "plateau" or checkpoint == "best_watched"


def _needs_validation(what: str) -> str:
    return f"{what} needs a validation share above 0"
