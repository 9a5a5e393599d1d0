"""The training `standard`: the usual optimizers, schedules and rules of when to stop and which epoch to keep.

Says what its parameters mean for the parts of `tasks/training`. Knows nothing of cells.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa

from tasks.model import Classifier
from tasks.parameters import Count, CountOrZero, NonNegative, Positive, Rate
from tasks.refusals import refuse
from tasks.registry import component
from tasks.schema import HISTORY
from tasks.training.amounts import too_few
from tasks.training.batches import Epochs, on
from tasks.training.keeping import Keeping
from tasks.training.loop import Loop, OnEpoch
from tasks.training.objective import Defense, objective
from tasks.training.schedule import FACTORS, Schedule
from tasks.training.step import Step, make_optimizer
from tasks.training.stopping import Stopping
from tasks.types import Split, TaskError

_DECIDED_BY = {"best_validation": "validation_accuracy", "best_test": "test_accuracy"}


@component("training", version=2, paper="https://arxiv.org/abs/1412.6980")
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
    checkpoint: Literal["last", "best_validation", "best_test"] = "last",
    test_accuracy: Literal["last", "each"] = "last",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    natural_epochs: CountOrZero = 0,
) -> pa.Table:
    """Minimise the defense's loss over shuffled batches, in place: a table of HISTORY, one row per epoch.

    `weight_decay` is an L2 penalty (adamw: decoupled). Schedules, at epoch e: `cosine` takes
    lr (1 + cos(pi (e - 1) / cosine_t_max)) / 2, where `cosine_t_max` is `epochs` unless given; `step` multiplies by
    `factor` (0.1) after each of the epochs in `milestones`; `plateau` multiplies by `factor` (0.5) when the
    validation loss has not fallen for `patience` epochs. `early_stopping` ends the training when it has not fallen
    for so many. A share `validation` of the training images, drawn once, is held out, and `samples` of the others,
    drawn once, are trained on (none: all).
    `checkpoint` says which epoch's weights remain; of equal ones, the earliest. The test accuracy is measured after
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
    loop = Loop(
        step=Step(model, objective(defense, model), stepper, precision),
        learned=Epochs(train, device, seed, validation, samples),
        tested=on(device, test),
        batch_size=batch_size,
        seed=seed,
        tests_each=checkpoint == "best_test" or test_accuracy == "each",
        schedule=Schedule(schedule, lr, cosine_t_max or epochs, milestones, factor, patience),
        stopping=Stopping(epochs, early_stopping),
        keeping=Keeping(_DECIDED_BY.get(checkpoint)),
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
        _needs_validation("checkpoint best_validation"): checkpoint == "best_validation" and not validation,
        _needs_validation("the schedule plateau"): schedule == "plateau" and not validation,
        _needs_validation("early_stopping"): early_stopping is not None and not validation,
    }
    yield from (f"training: {text}" for text, is_wrong in wrong.items() if is_wrong)
    if train_samples is not None:
        yield from too_few(train_samples, validation, samples)
    if natural_epochs and defense is not None and any(each.facts.has_base(each.parameters) for each in defense.all):
        yield f"training: {defense.name} learns from a model of its own, so that natural_epochs cannot go with it"


def _needs_validation(what: str) -> str:
    return f"{what} needs a validation share above 0"
