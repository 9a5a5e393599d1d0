"""What an attack promises. The models that it is tried on are small, and known where that matters."""

from collections.abc import Callable

import torch
from torch import Tensor

from tasks.contracts.attacking import (
    Call,
    Row,
    budget_of,
    called,
    predicted,
    rows_of,
    scores_of,
    state_of,
    targets_of,
)
from tasks.contracts.declared import prepares_as_declared, read_as_declared, says_what_it_is
from tasks.contracts.intact import left_alone, left_generator, whatever_the_generator
from tasks.contracts.subject import Subject, UnaskedError, require
from tasks.contracts.toys import Capped, Toy, Wavering, conv_net, deep_net, linear, pixels, seeded
from tasks.metrics import distances, margins
from tasks.types import Images, ModelError, Scores


def gives_images_and_steps(subject: Subject) -> None:
    """Images come back as they were given, in shape and type, with a whole number of steps, 0 or more, for each."""
    for images in (pixels(4), pixels(4, dtype=torch.float32)):
        call = called(subject, images)
        require((call.steps >= 0).all(), f"it says that it made {int(call.steps.min())} steps")


def leaves_what_it_is_given(subject: Subject) -> None:
    """The images, the labels and the prepared state that it is given are as they were when it is done."""
    model, images = conv_net(), pixels(4)
    state = state_of(subject, model, budget_of(subject), images)
    before = None if state is None else {name: tensor.clone() for name, tensor in state.items()}
    call = called(subject, images, model, state=state)
    require(torch.equal(call.given[0], call.inputs), "it changed the images that it was given")
    require(torch.equal(call.given[1], call.labels), "it changed the labels that it was given")
    for name, tensor in (before or {}).items():
        require(state is not None and torch.equal(state[name], tensor), f"it changed {name} of its prepared state")


def leaves_the_model(subject: Subject) -> None:
    """The model is bit for bit as it was: weights, gradients, and in which mode."""
    called(subject, pixels(4), held=left_alone)


def leaves_torchs_generator(subject: Subject) -> None:
    """It neither moves torch's own generator nor depends on where that is."""
    model = conv_net()
    with left_generator():
        called(subject, pixels(4), model)
    first, second = whatever_the_generator(lambda: called(subject, pixels(4), model))
    require(_same(first, second), "what it returns depends on torch's own generator")


def repeats_itself(subject: Subject) -> None:
    """The same call gives the same images, in pixels and in standardised units."""
    model = conv_net()
    for space in ("pixel", "standardised"):
        budget = budget_of(subject, space=space)
        first, second = (called(subject, pixels(6), model, budget) for _ in range(2))
        require(_same(first, second), f"called twice on the same images, in {space} units, it returned two things")


def knows_its_norms(subject: Subject) -> None:
    """It works in every norm that it names."""
    for norm in subject.facts.norms:
        budget = budget_of(subject, norm, beyond="allowed")
        rows = rows_of(subject, pixels(4), budget=budget)
        require(all(row["attacked"] for row in rows), f"not all samples were attacked in {norm}")


def keeps_its_budget(subject: Subject) -> None:
    """It keeps the budget that it is given: in every norm, in pixels and standardised units, in a box and without."""
    if subject.facts.budget == "minimal":
        raise UnaskedError("it looks for the nearest adversarial point, and has no budget to keep")
    if budget_of(subject).beyond == "allowed":
        raise UnaskedError("with these parameters it is declared to leave its budget")
    ends = torch.cat([pixels(4), pixels(4).round()])
    for norm in subject.facts.norms:
        for space in ("pixel", "standardised"):
            for box in (True, False):
                budget = budget_of(subject, norm, space=space, box=box)
                call = called(subject, ends, budget=budget)
                where = f"a budget in {norm}, {space} units, {'in' if box else 'without'} a box"
                far = float(distances(call.images, call.inputs)[norm].max())
                require(
                    far <= (budget.eps or 0) * (1 + 1e-4) + 1e-6, f"{where}: {far:.4g} is over its eps {budget.eps}"
                )
                low, high = call.model.box
                out = float(torch.maximum(low - call.images, call.images - high).max())
                require(out <= 1e-5, f"{where}: it left the box by {out:.4g}")


def attacks(subject: Subject) -> None:
    """It attacks: of images near a boundary it changes the prediction of some, as it is asked to."""
    near = 0.4 + 0.2 * pixels(12)
    for model in (linear(3), conv_net(), deep_net(activation=_Low)):
        call = called(subject, near, model, budget_of(subject, times=6))
        if bool((call.there & _reached(call, predicted(model, call.images))).any()):
            return
    require(False, "no image of any model was fooled")


class _Low(Capped):
    """Flat above 0.1, so that there are images without a gradient."""

    def __init__(self) -> None:
        super().__init__(0.1)


def aims_where_it_is_told(subject: Subject) -> None:
    """It aims where it is told: nearer to a class when that is the target than when another is, and it gets there."""
    if "targeted" not in subject.facts.targeting:
        raise UnaskedError("it takes no targets")
    model, many = linear(3), 0.4 + 0.2 * pixels(150)
    labels = predicted(model, many)
    near = torch.cat([many[labels == label][:30] for label in range(3)])
    call = called(subject, near, model, budget_of(subject, times=4), targets="all")
    if call.targets is None or not bool(call.there.any()):
        raise UnaskedError("nothing came back of any image of a linear model")
    scores, aims = scores_of(model, call.images).view(len(near), 2, 3), call.targets.view(len(near), 2)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        told = scores[(aims[:, 0] == first) & (aims[:, 1] == second)]
        for place, target in enumerate((first, second)):
            aim = torch.full((len(told),), target)
            ahead = (margins(told[:, place], aim) - margins(told[:, 1 - place], aim)).sign()
            chance = 1.5 * float(ahead.abs().sum()) ** 0.5
            require(ahead.sum() > chance, f"it comes no nearer to class {target} where that is its target")
            require((told[:, place].argmax(1) == target).any(), f"no image was made class {target}, which all can be")


def sees_what_it_declares(subject: Subject) -> None:
    """It sees no more than it declares: gradients, scores, predictions, or nothing at all."""
    knowledge, images = subject.facts.knowledge, pixels(6)
    if knowledge == "white-box":
        raise UnaskedError("it may see everything")
    model, state = Watched(), state_of(subject, conv_net(), budget_of(subject), images)
    call = called(subject, images, model, state=state)
    own = model.rows - len(images)
    require(knowledge != "none" or not own, "it declares to know nothing of the model, but asks it")
    require(not model.differentiated, f"it declares to see {knowledge}, but takes a gradient")
    if knowledge == "decision":
        other = called(subject, images, Bent(), state=state)
        require(_same(call, other), "it declares to see predictions, but other scores of the same order change it")


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


def looks_through_what_it_is_given(subject: Subject) -> None:
    """It looks at the model through what it is given, so that each pass is counted for the sample it is of."""
    model, images = Watched(), pixels(6)
    state = state_of(subject, model, budget_of(subject), images)
    before = model.rows
    call = called(subject, images, model, state=state)
    passes = model.rows - before - len(images)
    counted = int(call.model.forwards.sum())
    require(passes == counted, f"the model was asked {passes} times, of which {counted} are counted")


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


def prepares_the_same_again(subject: Subject) -> None:
    """What it prepares is tensors, and the same each time."""
    if not subject.facts.prepared:
        raise UnaskedError("it has nothing to prepare")
    first, second = whatever_the_generator(lambda: state_of(subject, conv_net(), budget_of(subject), pixels(1)) or {})
    require(first, "it prepared nothing")
    require(all(isinstance(value, Tensor) for value in first.values()), "it prepared something that is no tensor")
    same = first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    require(same, "prepared twice from the same images, it is two things")


class Watched(Toy):
    """Knows how many images it was asked about, and whether by somebody who wants a gradient."""

    def __init__(self) -> None:
        toy = conv_net()
        super().__init__(toy.body, 0.3, 0.4)
        self.double()
        self.rows = 0
        self.differentiated = False

    def forward(self, images: Images) -> Scores:
        """(batch, 4)."""
        self.rows += len(images)
        scores = super().forward(images)
        if scores.requires_grad:
            scores.register_hook(self._note)  # type: ignore[no-untyped-call]
        return scores

    def _note(self, _: Tensor) -> None:
        self.differentiated = True


class Bent(Watched):
    """Predicts the same from scores that are in the same order but otherwise different."""

    def forward(self, images: Images) -> Scores:
        """(batch, 4)."""
        scores = super().forward(images)
        return scores**3 + scores


class Fragile(Toy):
    """Scores are NaN anywhere but on the images it knows."""

    def __init__(self, known: Images) -> None:
        super().__init__(linear(3).body)
        self.known = known
        self.double()

    def forward(self, images: Images) -> Scores:
        """(batch, 3)."""
        near = (images[:, None] - self.known).abs().flatten(2).amax(2).amin(1) == 0
        return torch.where(near[:, None], super().forward(images), torch.nan)


def _reached(call: Call, seen: Tensor) -> Tensor:
    """Whether what the model sees is what the attack was asked for, (n,)."""
    return seen != call.labels if call.targets is None else seen == call.targets


def _same(first: Call, second: Call) -> bool:
    return torch.equal(first.images, second.images) and torch.equal(first.steps, second.steps)


def _equal(rows: list[Row], due: list[Row], how: str) -> None:
    """Raise BrokenPromiseError, naming sample and column, where rows differ."""
    for row, other in zip(rows, due, strict=True):
        different = [name for name, value in row.items() if value != other[name]]
        require(not different, f"{how}, sample {row['sample']} has another {', '.join(different)}")


def _place(row: Row) -> tuple[int, int]:
    return row["sample"], -1 if row["target"] is None else row["target"]


PROMISES: tuple[Callable[[Subject], None], ...] = (
    read_as_declared,
    says_what_it_is,
    prepares_as_declared,
    gives_images_and_steps,
    leaves_what_it_is_given,
    leaves_the_model,
    repeats_itself,
    leaves_torchs_generator,
    attacks,
    aims_where_it_is_told,
    sees_what_it_declares,
    takes_one_sample,
    takes_any_shape,
    knows_its_norms,
    keeps_its_budget,
    stops_where_scores_are_not_finite,
    looks_through_what_it_is_given,
    is_the_same_in_any_batch,
    rounds_alike_in_a_fixed_batch,
    minds_no_misclassified_sample,
    moves_pixels_at_the_ends_of_the_box,
    attacks_a_model_that_draws,
    prepares_the_same_again,
)
"""In the order in which they are asked: what needs little comes first."""
