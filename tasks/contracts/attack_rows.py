"""What an attack promises of the rows that the judge makes of what it returns."""

import torch

from tasks.contracts.attacking import Row, budget_of, predicted, rows_of, targets_of
from tasks.contracts.subject import Subject, UnaskedError, require
from tasks.contracts.toys import Wavering, conv_net, linear, pixels, seeded
from tasks.contracts.watched import Fragile
from tasks.types import AttackError, ModelError


def knows_its_norms(subject: Subject) -> None:
    """It works in every norm that it names."""
    for norm in subject.facts.norms:
        budget = budget_of(subject, norm, beyond="allowed")
        rows = rows_of(subject, pixels(4), budget=budget)
        require(all(row["attacked"] for row in rows), f"not all samples were attacked in {norm}")


def stops_where_scores_are_not_finite(subject: Subject) -> None:
    """Where the model's scores are not finite its shard fails, and names the sample."""
    if subject.facts.knowledge == "none" or subject.facts.prepared:
        raise UnaskedError("it never looks at the model while it attacks")
    images = 0.5 + 0.4 * pixels(3)
    try:
        rows_of(subject, images, Fragile(images))
    except ModelError as error:
        require("not finite for" in str(error), f"it failed otherwise: {error}")
    else:
        require(False, "it ended, as if the model had been asked where its scores are NaN")


def asks_about_finite_images(subject: Subject) -> None:
    """It asks the model about finite images only, also where there is no gradient or the model draws numbers."""
    if subject.facts.knowledge == "none" or subject.facts.prepared:
        raise UnaskedError("it never looks at the model while it attacks")
    images = pixels(4)
    for model, labels in ((linear(2, scale=0.0), None), (Wavering(0.3), predicted(Wavering(0.0), images))):
        try:
            rows_of(subject, images, model, labels=labels, draws=3)
        except AttackError as error:
            require("asked the model about images that are not finite" not in str(error), str(error))
            raise


def takes_one_sample(subject: Subject) -> None:
    """No sample and one sample are enough."""
    for count in (0, 1):
        rows = rows_of(subject, pixels(count))
        require(len({row["sample"] for row in rows}) == count, f"{count} samples gave {len(rows)} rows")


def takes_any_shape(subject: Subject) -> None:
    """Images may have any shape and there may be two classes or a hundred."""
    shape = (3, 5, 8)
    for num_classes in (2, 100):
        targets = (1,) if targets_of(subject) else None
        rows = rows_of(subject, pixels(3, shape), linear(num_classes, shape=shape), targets=targets)
        require(len(rows) == 3, f"3 images gave {len(rows)} rows")
        require(all(row["steps"] is not None for row in rows if row["attacked"]), "an attacked sample has no steps")


def is_the_same_in_any_batch(subject: Subject) -> None:
    """Neither batch nor shard nor order changes a row."""
    images = pixels(20)
    whole = rows_of(subject, images)
    for size in (1, 7):
        _equal(rows_of(subject, images, batch_size=size), whole, f"in batches of {size}")
    order = torch.randperm(20, generator=seeded(3))
    shuffled = rows_of(subject, images[order], samples=order + 100)
    _equal(sorted(shuffled, key=_place), sorted(whole, key=_place), "in another order")
    shards = [rows_of(subject, images[part], samples=part + 100) for part in torch.split(torch.arange(20), 6)]
    _equal([row for shard in shards for row in shard], whole, "in shards of 6")
    if "targeted" in subject.facts.targeting:
        whole = rows_of(subject, images[:8], targets="all")
        require(len(whole) == 8 * 3, f"8 images with 3 targets each gave {len(whole)} rows")
        for size in (1, 7):
            _equal(rows_of(subject, images[:8], targets="all", batch_size=size), whole, f"with targets, by {size}")
    standardised = budget_of(subject, space="standardised")
    whole = rows_of(subject, images[:6], budget=standardised)
    _equal(rows_of(subject, images[:6], budget=standardised, batch_size=4), whole, "in standardised units, by 4")


def rounds_alike_in_a_fixed_batch(subject: Subject) -> None:
    """In float32 its rows are the same to the bit in any batch, if the model's passes have a fixed size."""
    model, images = conv_net(torch.float32), pixels(12, dtype=torch.float32)
    whole = rows_of(subject, images, model, fixed_batch=4)
    _equal(rows_of(subject, images, model, fixed_batch=4, batch_size=5), whole, "in batches of 5, in float32")


def minds_no_misclassified_sample(subject: Subject) -> None:
    """A sample that is misclassified already is no trouble."""
    model, images = conv_net(), pixels(6)
    labels = (predicted(model, images) + torch.arange(6) % 2) % 4
    rows = rows_of(subject, images, model, labels=labels, attacked="all")
    wrong = [row for row in rows if not row["clean_correct"]]
    require(wrong, "no sample was misclassified")
    require(all(row["attacked"] for row in wrong if row["target"] != row["label"]), "a sample was not attacked")
    require(not any(row["success"] for row in wrong if row["target"] is None), "it succeeded before it began")


def moves_pixels_at_the_ends_of_the_box(subject: Subject) -> None:
    """Pixels at both ends of the box can move."""
    images = torch.randint(0, 2, (8, 1, 6, 6), generator=seeded(4)).float()
    rows = rows_of(subject, images, linear(2, dtype=torch.float32, seed=2))
    moved = [row["l2"] > 0 for row in rows if row["l2"] is not None]
    if not moved:
        raise UnaskedError("nothing came back of any image of a linear model")
    require(any(moved), "of images that are black and white throughout none has moved")


def attacks_a_model_that_draws(subject: Subject) -> None:
    """A model that draws numbers is attacked alike in every batch."""
    if subject.facts.prepared:
        raise UnaskedError("it is prepared beforehand")
    images = pixels(6)
    labels = predicted(Wavering(0.0), images)
    whole, alone = (
        rows_of(subject, images, Wavering(0.3), labels=labels, eot=2, draws=3, batch_size=size) for size in (64, 1)
    )
    _equal(alone, whole, "of a model that draws, one by one")


def _equal(rows: list[Row], due: list[Row], how: str) -> None:
    """Raise BrokenPromiseError, naming sample and column, where rows differ."""
    for row, other in zip(rows, due, strict=True):
        different = [name for name, value in row.items() if value != other[name]]
        require(not different, f"{how}, sample {row['sample']} has another {', '.join(different)}")


def _place(row: Row) -> tuple[int, int]:
    return row["sample"], -1 if row["target"] is None else row["target"]
