"""How an attack is tried: called as the harness calls it, with what it was given and what it gave; or judged.

Knows nothing of what an attack promises.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tasks.cases import Attack, Budget, Case, Norm
from tasks.config import CELL_PARTS, Cell, Component
from tasks.contracts.intact import Held
from tasks.contracts.subject import Subject
from tasks.contracts.toys import conv_net, pixels
from tasks.counted import CountedModel
from tasks.judge import attack_samples
from tasks.metrics import all_others, frozen
from tasks.prepare import prepare_attack
from tasks.returned import arrived
from tasks.streams import Streams
from tasks.types import Images, Labels, Steps

Row = dict[str, Any]
Targets = tuple[int, ...] | Literal["all"] | None
State = Mapping[str, Tensor] | None

EPS: Mapping[Norm, float] = {"linf": 0.05, "l2": 0.2, "l1": 1.0, "l0": 3.0}
"""A small budget in each norm, for images of 36 pixels."""


def budget_of(subject: Subject, norm: Norm | None = None, *, times: float = 1, **how: Any) -> Budget:  # noqa: ANN401 - the budget's own fields
    """A small budget in a norm that it knows, the first unless said otherwise; without an eps where it needs none."""
    facts = subject.facts
    norm = norm or facts.norms[0]
    if facts.budget == "minimal":
        return Budget(norm, None, **how)
    leaves = facts.may_leave(subject.parameters)
    return Budget(norm, EPS[norm] * times, **{"beyond": "allowed" if leaves else "error", **how})


def targets_of(subject: Subject) -> Targets:
    """The targets of an attack that cannot do without."""
    return None if "untargeted" in subject.facts.targeting else "all"


def case_of(subject: Subject, budget: Budget, **harness: Any) -> Case:  # noqa: ANN401 - what the harness can be told
    """It on a cell of which there is only the name."""
    parts: dict[str, Any] = {kind: Component(kind, "toy", 1) for kind in CELL_PARTS}
    cell = Cell(**parts, seed=0)
    return Case(cell, Attack(Component("attack", subject.name, 1, subject.parameters), budget, **harness))


def judged(
    subject: Subject,
    model: nn.Module,
    images: Images,
    budget: Budget,
    *,
    labels: Labels | None = None,
    samples: Tensor | None = None,
    batch_size: int = 64,
    fixed_batch: int | None = None,
    source: nn.Module | None = None,
    state: State = None,
    **harness: Any,  # noqa: ANN401 - what the harness can be told
) -> list[Row]:
    """The judge's rows. The labels are what the model predicts, the samples are numbered from 100, unless given."""
    labels = predicted(model, images) if labels is None else labels
    samples = torch.arange(len(images)) + 100 if samples is None else samples
    case = case_of(subject, budget, **harness)
    how = {"batch_size": batch_size, "fixed_batch": fixed_batch, "source": source, "state": state}
    rows: list[Row] = attack_samples(model, case, images, labels, samples, **how).to_pylist()  # type: ignore[arg-type]
    return rows


def rows_of(
    subject: Subject,
    images: Images,
    model: nn.Module | None = None,
    budget: Budget | None = None,
    **how: Any,  # noqa: ANN401 - those of `judged`
) -> list[Row]:
    """The same without the time taken; with targets and with a prepared state where it needs these."""
    model = conv_net() if model is None else model
    budget = budget or budget_of(subject)
    how = {"targets": targets_of(subject), "state": state_of(subject, model, budget, images)} | how
    rows = judged(subject, model, images, budget, **how)
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def state_of(subject: Subject, model: nn.Module, budget: Budget, like: Images) -> State:
    """What its prepare step, if it has one, makes of twelve images of that shape, after one look at the labels."""
    if not subject.facts.prepared:
        return None
    fit = pixels(12, shape=tuple(like.shape[1:]), seed=77, dtype=like.dtype)
    scores = scores_of(model, fit)
    case, samples = case_of(subject, budget), torch.arange(12)
    return prepare_attack(model, case, fit, scores.argmax(1), samples, num_classes=scores.shape[1]).state


@dataclass(frozen=True)
class Call:
    """One call of an attack: what there was, what it was given of that, the model that counted, and what it returned.

    `targets` are those aimed at, (n,), if any. `there`: whether an image came back for the sample, (n,).
    """

    model: CountedModel
    inputs: Images
    labels: Labels
    targets: Labels | None
    given: tuple[Images, Labels]
    returned: Images
    steps: Steps
    there: Tensor

    @property
    def images(self) -> Images:
        """What came back, and the clean image where nothing did."""
        return torch.where(self.there[:, None, None, None], self.returned, self.inputs)


def called(
    subject: Subject,
    images: Images,
    model: nn.Module | None = None,
    budget: Budget | None = None,
    *,
    targets: Targets = None,
    state: State = None,
    held: Held = nullcontext,
) -> Call:
    """Call it on pixels once, or once for all targets, after one look at the labels; nothing is judged.

    `held` is what the call is made inside of. Raises AttackError where what comes back is no image.
    """
    model = conv_net().to(images.dtype) if model is None else model
    budget = budget or budget_of(subject)
    scores = scores_of(model, images)
    state = state_of(subject, model, budget, images) if state is None else state
    rows, aims = _pairs(scores, targets or targets_of(subject))
    samples, labels, classes = rows + 100, scores.argmax(1)[rows], scores.shape[1]
    noise, streams = (Streams(key, samples, aims) for key in ("noise", "draws"))
    with frozen(model):
        counted = CountedModel(model, samples, budget, num_classes=classes, targets=aims, noise=noise)
        inputs = counted.inputs(images[rows])
        given = inputs.clone(), labels.clone()
        with held(model):
            returned, steps = subject.make(counted, *given, budget, streams, *(() if state is None else (state,)))
        there = arrived(subject.name, returned, steps, inputs, samples)
    return Call(counted, inputs, labels, aims, given, returned.detach(), steps, there)


def _pairs(scores: Tensor, targets: Targets) -> tuple[Tensor, Labels | None]:
    """The place of the image of each row, and the target: an image has a row for each of its targets, if any."""
    rows = torch.arange(len(scores))
    if targets is None:
        return rows, None
    labels, classes = scores.argmax(1), scores.shape[1]
    aims = all_others(labels, classes) if targets == "all" else torch.tensor(targets).expand(len(labels), -1)
    return rows.repeat_interleave(aims.shape[1]), aims.flatten()


def scores_of(model: nn.Module, images: Images) -> Tensor:
    """What the model says of them."""
    with torch.no_grad():
        scores: Tensor = model(images.to(next(model.buffers()).dtype))
    return scores


def predicted(model: nn.Module, images: Images) -> Labels:
    """The class that the model predicts for each."""
    return scores_of(model, images).argmax(1)
