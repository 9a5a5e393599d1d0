"""The average-sample attack: away from the average image of the own class, towards that of the target."""

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor

from tasks.attacks._fitting_set import too_many
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import radius, rowwise
from tasks.parameters import Count
from tasks.refusals import refuse
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Prepared, Steps

_AT_ONCE = 4096
"""Images that are made float64 at once."""


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/2203.12693",
    norms=("linf",),
    budget="eps",
    knowledge="none",
    targeting=("targeted",),
    prepared=True,
)
def average_sample(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    state: Mapping[str, Tensor],
    *,
    chunk: Count | None = None,
    fit_split: Literal["train", "test"] = "train",  # this and the next are read by what brings the fitting set
    fit_samples: Count | None = None,
) -> tuple[Images, Steps]:
    """Average-sample attack, https://arxiv.org/abs/2203.12693: x + eps sign(Avg_t - Avg_y), clipped to the box if any.

    Wang and Loog 2022. Avg_c is the average fitting image of class c, y the label, t the target; eps is in units of
    the budget's space. The model is asked nothing, so every cell of a dataset is attacked by the same images. It is 1
    step; where the fitting set has no image of the label or the target, the image comes back as it is, after 0 steps.

    Without `chunk` the averages are over the whole fitting set. With it they are over chunks of so many images
    with consecutive indices, and image i gets those of its own chunk: the softRmax thesis, Ingendaa 2024, averaged
    each batch of test images that it attacked (fit_split: test, fit_samples: null; 200 images of MNIST, 400 of
    Fashion-MNIST and CIFAR-10, 3000 of CIFAR-100). Its CIFAR-100 batches may lack a class, which made NaN; here
    the average over the whole set stands in.
    """
    refuse(AttackError, refuses(targets=model.targets))
    averages, present = state["averages"].to(images.device), state["present"].to(images.device)
    whole = len(averages) - 1
    places = torch.full_like(labels, whole) if chunk is None else (streams.samples // chunk).clamp(max=whole)
    known = present[labels] & present[model.targets]
    toward = (averages[places, model.targets] - averages[places, labels]).sign() * rowwise(known, images)
    return (images + radius(budget) * toward.to(images.dtype)).clamp(*model.box), known.long()


def prepare(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    chunk: Count | None = None,
    fit_split: Literal["train", "test"] = "train",
    fit_samples: Count | None = None,  # read by what brings the fitting set
) -> Prepared:
    """Average the fitting images, class by class.

    State: `averages`, (chunks + 1, classes, channels, height, width), float64, the whole set's last; `present`,
    (classes,) bool. Facts: the number of chunks, and of classes that have no image. AttackError for chunks of another
    split than the one attacked.
    """
    refuse(AttackError, refuses(chunk=chunk, fit_split=fit_split))
    averages, counts = _averages(images, labels, torch.zeros_like(labels), model.num_classes)
    present = counts[0] > 0
    if chunk is not None:
        parts, counts = _averages(images, labels, streams.samples // chunk, model.num_classes)
        absent = (counts == 0).view(*counts.shape, 1, 1, 1)
        averages = torch.cat([torch.where(absent, averages, parts), averages])
    facts = {"chunks": float(len(averages) - 1), "absent_classes": float((~present).sum())}
    return Prepared({"averages": averages, "present": present}, facts)


def refuses(
    *,
    chunk: int | None = None,
    fit_split: str = "test",
    fit_samples: int | None = None,
    targets: object = "all",
    samples: int | None = None,
    train_samples: int | None = None,
) -> Iterator[str]:
    """Chunks of another split than the attacked one, no target, more images to fit than there are."""
    if targets is None:
        yield "average_sample is a targeted attack: give it targets"
    if chunk is not None and fit_split != "test":
        yield "average_sample: a chunk is one of the attacked split: give fit_split: test, or no chunk"
    yield from too_many(fit_split, fit_samples, samples if fit_split == "test" else train_samples)


def _averages(images: Images, labels: Labels, places: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """The average image of each place and class, (places, classes, ...), and of how many images.

    Deviations from the first image are summed, in float64: a pixel that never changes has exactly the same average in
    every class, so that no sign is made of rounding.
    """
    num_places = int(places.max()) + 1 if len(places) > 0 else 1
    groups = places * num_classes + labels
    counts = torch.bincount(groups, minlength=num_places * num_classes)
    sums = torch.zeros(len(counts), *images.shape[1:], dtype=torch.float64, device=images.device)
    first = images[:1].double().sum(0)
    for start in range(0, len(labels), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        sums.index_add_(0, groups[part], images[part].double() - first)
    averages = first + sums / rowwise(counts.clamp(min=1), sums)
    return averages.view(num_places, num_classes, *images.shape[1:]), counts.view(num_places, num_classes)
