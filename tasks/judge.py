"""The judge: runs an attack on the samples of a shard, then finds out for itself what came of it.

An attack's own claim is never recorded. What it returns is refused if it has the wrong shape, is partly not finite,
or lies outside box or budget; else the model predicts it afresh and the distances are measured here. An attack may
return an image that is NaN throughout, which says that for this sample nothing came back.

Knows nothing of files, Ray, runs or where the rows go.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

import pyarrow as pa
import torch
from torch import Tensor, nn

from tasks import registry
from tasks.cases import Attack, Case
from tasks.compared import compare_attack, compare_passes
from tasks.counted import CountedModel, Stopping
from tasks.given import Given, in_batches
from tasks.intact import intact
from tasks.metrics import all_others, distances, frozen, rowwise
from tasks.noise import is_stochastic
from tasks.refusals import beyond_classes
from tasks.returned import arrived, inside
from tasks.rows import MEASURED, rows_of
from tasks.streams import Streams
from tasks.types import AttackError, Columns, Images, Labels, Rows, Steps
from tasks.votes import vote

__all__ = ["MEASURED", "attack_samples"]

State = Mapping[str, Tensor]

_SUMMED = ("steps", "forwards", "backwards", "seconds")
"""What the members of a cascade spend on a sample adds up."""


def attack_samples(
    model: nn.Module,
    case: Case,
    images: Images,
    labels: Labels,
    samples: Tensor,
    *,
    batch_size: int,
    fixed_batch: int | None = None,
    source: nn.Module | None = None,
    state: State | None = None,
) -> pa.Table:
    """Attack the samples of a shard: a row for each, or for each with each target, with the columns of `MEASURED`.

    `images`: (n, channels, height, width), uint8 in 0..255 or floats in [0, 1]; `samples`: indices in the split,
    (n,) int64. Rows keep the order of the samples; a targeted attack has as many for each. Only what the model
    classifies correctly is attacked, unless the attack says "all". In a transfer the attack sees `source`. `state` is
    what its prepare step made. `batch_size` and `fixed_batch` (see `CountedModel`) change no random draw; CUDA running
    out of memory halves the batch. Raises AttackError or ModelError, naming the sample.
    """
    if len(samples) == 0:
        return MEASURED.empty_table()
    like = next(iter([*model.parameters(), *model.buffers()]))
    given = Given.on(like, images, labels, samples)
    trial = _Trial(model, case, source or model, state, fixed_batch)
    with ExitStack() as stack:
        for module in {model, source or model}:
            stack.enter_context(frozen(module))
            stack.enter_context(intact(module, case.attack.name))
        for module in {model, source or model}:
            compare_passes(module, given.pixels[:2], given.samples[:2])
        clean = in_batches(lambda part: trial.predict(given.at(part), f"{case.cell.id}/clean"), len(given), batch_size)
        rows, targets = _pairs(case.attack, given.labels, trial.num_classes)
        pairs = replace(given.at(rows), targets=targets)
        chosen = _chosen(case.attack, pairs, clean["pred"].to(like.device)[rows])
        found = trial.run(pairs.at(chosen), batch_size)
    wanted = None if targets is None else targets.cpu()
    return rows_of(case, given.samples.cpu(), given.labels.cpu(), clean, rows.cpu(), wanted, chosen.cpu(), found)


def _pairs(attack: Attack, labels: Labels, num_classes: int) -> tuple[Rows, Labels | None]:
    """A row for each sample and target, in the order of the samples: which sample, and the target."""
    rows = torch.arange(len(labels), device=labels.device)
    if attack.targets is None:
        return rows, None
    if attack.targets == "all":
        targets = all_others(labels, num_classes)
    else:
        if wrong := beyond_classes(attack, num_classes):
            raise AttackError(wrong)
        targets = torch.tensor(attack.targets, device=labels.device).expand(len(labels), -1)
    return rows.repeat_interleave(targets.shape[1]), targets.flatten()


def _chosen(attack: Attack, pairs: Given, predicted: Labels) -> Rows:
    """The pairs that are attacked."""
    wanted = torch.ones_like(predicted, dtype=torch.bool)
    if attack.attacked == "correct":
        wanted &= predicted == pairs.labels
    if pairs.targets is not None:
        wanted &= pairs.targets != pairs.labels
    return torch.nonzero(wanted)[:, 0]


class _Trial:
    """One model under one attack, which looks at `source`."""

    def __init__(
        self, model: nn.Module, case: Case, source: nn.Module, state: State | None, fixed_batch: int | None
    ) -> None:
        self.model = model
        self.case = case
        self.source = source
        self.state = state
        self.fixed_batch = fixed_batch
        self.stochastic = is_stochastic(model)
        self.stopping: Stopping = "never" if source is not model else "confirmed" if self.stochastic else "look"
        self.num_classes = 0

    def predict(self, given: Given, key: str) -> Columns:
        """A vote on images: see `tasks.votes`."""
        draws = self.case.attack.draws if self.stochastic else None
        found, self.num_classes = vote(self.model, given, key, draws, self.fixed_batch)
        return found

    def run(self, given: Given, batch_size: int) -> Columns:
        """Attack every row; each further member of a cascade attacks those that withstood."""
        members = self.case.attack.chain
        found = in_batches(lambda part: self.attack(0, given.at(part)), len(given), batch_size)
        if not found or len(members) == 1:
            return {name: column for name, column in found.items() if name != "leaves"}
        found["member"] = torch.ones_like(found["success"], dtype=torch.int64)
        for number in range(1, len(members)):
            left = torch.nonzero(~found["leaves"])[:, 0]
            survivors = given.at(left.to(given.samples.device))
            again = in_batches(lambda part, n=number, s=survivors: self.attack(n, s.at(part)), len(left), batch_size)  # type: ignore[misc]
            if again:
                _take(found, left, again, number + 1)
        del found["leaves"]
        found["member"] *= found["success"]
        return found

    def attack(self, number: int, given: Given) -> Columns:
        """One member's attack on some rows, judged."""
        member = self.case.attack.chain[number]
        key = f"{self.case.id}/{number}" if number else self.case.id
        streams = Streams(key, given.samples, given.targets)
        counted = self._counted(member, given, streams)
        inputs = counted.inputs(given.pixels)
        started = time.perf_counter()
        returned, steps = self._call(member, counted, inputs, given.labels, streams)
        there = arrived(member.component.name, returned, steps, inputs, given.samples)
        seconds = time.perf_counter() - started
        returned = torch.where(rowwise(there, inputs), returned.detach(), inputs)
        images, within = inside(member, returned, inputs, given.samples, counted.box)
        return {
            **self._votes(replace(given, pixels=counted.pixels(images)), there & within, key),
            **distances(images, inputs, counted.centre),
            "arrived": there,
            "steps": steps,
            "forwards": counted.forwards,
            "backwards": counted.backwards,
            "seconds": torch.full(steps.shape, seconds / len(steps), dtype=torch.float64),
        }

    def _counted(self, member: Attack, given: Given, streams: Streams) -> CountedModel:
        return CountedModel(
            self.source,
            given.samples,
            member.budget,
            num_classes=self.num_classes,
            targets=given.targets,
            eot=member.eot,
            noise=streams,
            fixed_batch=self.fixed_batch,
            stopping=self.stopping,
            by=member.component.name,
        )

    def _votes(self, given: Given, usable: Tensor, key: str) -> Columns:
        """What the model says of the returned images, of which only the `usable` ones count.

        Of a model that draws there are independent votes, each for one purpose. Of images that are chosen among several
        by a vote, the luckiest would be among the successes if that vote were also what is recorded. The first is
        `success`; the second is for whoever chooses by the first; and who `leaves` a cascade has one apart.
        """
        judged = self.predict(given, f"{key}/judge")
        success = usable & _is_fooled(judged["pred"], given)
        if not self.stochastic:
            return {**judged, "success": success, "leaves": success}
        second = self.predict(given, f"{key}/second vote")
        is_cascade = len(self.case.attack.chain) > 1
        return {
            **judged,
            "success": success,
            "second_pred": second["pred"],
            "second_votes": second["votes"],
            "second_success": usable & _is_fooled(second["pred"], given),
            "leaves": self._fools(given, usable, f"{key}/leaves") if is_cascade else success,
        }

    def _fools(self, given: Given, usable: Tensor, key: str) -> Tensor:
        """Whether a vote finds the usable images to be what the attack wants, (n,)."""
        return usable & _is_fooled(self.predict(given, key)["pred"], given)

    def _call(
        self, member: Attack, model: CountedModel, inputs: Images, labels: Labels, streams: Streams
    ) -> tuple[Images, Steps]:
        name = member.component.name
        function = registry.load("attack", name)
        given = inputs.clone(), labels.clone()
        prepared = () if self.state is None else (self.state,)
        try:
            with torch.enable_grad():
                returned, steps = function(
                    model, *given, member.budget, streams, *prepared, **member.component.parameters
                )
        except Exception:
            model.check()  # scores that are not finite are the likelier cause of whatever went wrong
            raise
        model.check()
        compare_attack(member, model)
        if not (torch.equal(given[0], inputs) and torch.equal(given[1], labels)):
            raise AttackError(f"{name} changed the images or labels it was given (first sample {streams.samples[0]})")
        return returned, steps


def _is_fooled(predicted: Labels, given: Given) -> Tensor:
    """Whether the prediction is what the attack wants, (n,)."""
    return predicted != given.labels if given.targets is None else predicted == given.targets


def _take(found: Columns, rows: Rows, again: Columns, number: int) -> None:
    """Put a further member's columns in place where samples leave or nothing had come back; add up what was spent."""
    better = again["leaves"] | ~found["arrived"][rows]
    for name, column in again.items():
        if name in _SUMMED:
            found[name][rows] += column
        else:
            found[name][rows[better]] = column[better]
    found["member"][rows[better]] = number
