"""The step that some attacks make once, before any sample: a universal perturbation, the averages of the classes.

Knows nothing of where the images come from or where the state is kept.
"""

from dataclasses import replace

import torch
from torch import nn

from tasks import registry
from tasks.cases import Case
from tasks.compared import compare_attack, compare_passes
from tasks.counted import CountedModel
from tasks.given import Given
from tasks.intact import intact
from tasks.metrics import frozen
from tasks.streams import Streams
from tasks.types import Images, Labels, Prepared


def prepare_attack(
    model: nn.Module,
    case: Case,
    images: Images,
    labels: Labels,
    samples: torch.Tensor,
    *,
    num_classes: int,
    fixed_batch: int | None = None,
) -> Prepared:
    """What the attack of a case needs, made from these images with the cell it looks at.

    `images`: (n, channels, height, width), uint8 in 0..255 or floats in [0, 1]; `samples`: their indices in their
    split, (n,) int64. The facts begin with the counts of passes. Raises what the component raises, ModelError where
    scores are not finite, AttackError where it changed the model.
    """
    attack = case.attack
    like = next(iter([*model.parameters(), *model.buffers()]))
    given = Given.on(like, images, labels, samples)
    streams = Streams(case.prepared_id, given.samples)
    with frozen(model), intact(model, attack.name):
        compare_passes(model, given.pixels[:2], given.samples[:2])
        counted = CountedModel(
            model,
            given.samples,
            attack.budget,
            num_classes=num_classes,
            eot=attack.eot,
            noise=streams,
            fixed_batch=fixed_batch,
            by=attack.component.name,
        )
        made: Prepared = registry.load_prepare(attack.component.name)(
            counted, counted.inputs(given.pixels), given.labels, attack.budget, streams, **attack.component.parameters
        )
        counted.check()
        compare_attack(attack, counted)
    passes = {"forwards": float(counted.forwards.sum()), "backwards": float(counted.backwards.sum())}
    return replace(made, facts={"samples": float(len(samples)), **passes, **made.facts})
