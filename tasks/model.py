"""A cell in memory: the classifier that its components make, and the images it is for.

Knows nothing of training, of attacks or of where weights are kept.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import nll_loss
from torch.nn.parameter import is_lazy

from tasks import registry
from tasks.activations._every import Places, placed
from tasks.architectures._every import extended
from tasks.compared import compare_draws
from tasks.config import Cell, Component
from tasks.data import mistaken
from tasks.datasets._every import mixed
from tasks.facts import chosen
from tasks.initialisation import draw_glorot_uniform
from tasks.types import DataError, DataRoot, Images, Labels, Scores, Shape, Split


class Classifier(nn.Module):
    """Images in [0, 1], (batch, *shape), to scores, (batch, num_classes): standardise, then `body`, then `head`.

    `input` comes before all of these: nothing, unless a defense puts something there. `activations` are the modules
    that the architecture has as its activations, from the first hidden layer to the last.
    `mean` and `std` are buffers of shape (channels, 1, 1), in units of pixels in [0, 1]: those of the dataset, by which
    budgets in standardised units are measured, also where `inputs` is "raw" and the body sees pixels as they are.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        head: nn.Module,
        *,
        shape: Shape,
        num_classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        activations: list[nn.Module] | None = None,
        inputs: str = "standardised",
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.input: nn.Module = nn.Identity()
        self.activations = activations or []
        self.body = body
        self.head = head
        self.shape = shape
        self.num_classes = num_classes
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Images) -> Scores:
        """The scores, whose argmax is the prediction."""
        images = self.input(images)
        seen = images if self.inputs == "raw" else (images - self.mean) / self.std
        return cast("Scores", self.head(self.body(seen)))

    def log_probabilities(self, scores: Scores) -> Tensor:
        """(batch, num_classes): the head's log-distribution over classes, each row's exponentials summing to 1."""
        return cast("Callable[[Scores], Tensor]", self.head.log_probabilities)(scores)

    def losses(self, scores: Scores, labels: Labels) -> Tensor:
        """(batch,): the head's own training loss, if it has one, else the labels' negative log-likelihood."""
        own = getattr(self.head, "losses", None)
        if own is not None:
            return cast("Callable[[Scores, Labels], Tensor]", own)(scores, labels)
        return nll_loss(self.log_probabilities(scores), labels, reduction="none")


def build_model(cell: Cell, split: Split, start: Mapping[str, Tensor] | None = None) -> Classifier:
    """The cell's classifier on the CPU, its weights freshly drawn from the cell's seed.

    Cells that differ in their head alone start from the same body. `start` has other weights, those of the model as it
    is before the cell's defense puts anything into it. Raises ModelError where it draws numbers that nothing declares.
    """
    activation, architecture, head = cell.activation, cell.architecture, cell.head
    places = Places(lambda: make(activation))
    with seeded(derive_seed(cell.seed, "weights"), torch.device("cpu")):
        body = extended(lambda shape: make(architecture, shape, places), split.shape, places, **_shared(architecture))
        placed(body, places, registry.load("activation", "relu"), **_shared(activation))
        width = body.width
        model = Classifier(
            body,
            make(head, width, split.num_classes),
            shape=split.shape,
            num_classes=split.num_classes,
            mean=split.mean,
            std=split.std,
            activations=places.made,
            inputs=cell.inputs,
        )
        if any(is_lazy(parameter) for parameter in model.parameters()):
            with torch.no_grad():
                model.eval()(torch.zeros(1, *split.shape))  # whose sizes the parameters take
        if cell.initialisation == "glorot_uniform":
            with seeded(derive_seed(cell.seed, "glorot_uniform"), torch.device("cpu")):  # whatever the head drew
                draw_glorot_uniform(model)
        if start is not None:
            model.load_state_dict(start)
        defense = make(cell.defense)
        if defense.adapt:
            defense.adapt(model)
    compare_draws(cell, model)
    return model.train()


def load_split(dataset: Component, split: str, root: DataRoot) -> Split:
    """The "train" or "test" split of a dataset, checked.

    Raises DataError where it is missing, is known to be another data set's, breaks the contract of a dataset, or is
    not what the dataset declares in its facts.
    """
    if split not in {"train", "test"}:
        raise ValueError(f"a dataset has the splits 'train' and 'test', not {split!r}")
    loaded = cast("Split", make(dataset, split, root))
    if others := mistaken(dataset, [split], root.path):
        raise DataError("; ".join(others))
    if problem := _problem(loaded) or undeclared(dataset, split, loaded):
        raise DataError(f"the {split} split of {dataset.name}: {problem}")
    return mixed(loaded, root, **_shared(dataset)) if split == "train" else loaded


@lru_cache(maxsize=4)
def kept_split(dataset: Component, split: str, root: DataRoot) -> Split:
    """The same, decoded once: the last few are kept, for all cells that a worker trains and attacks."""
    return load_split(dataset, split, root)


def make(component: Component, *given: object) -> Any:  # noqa: ANN401 - what a component makes depends on its kind
    """Call a component with what the harness gives and with its own parameters."""
    common = registry.shared(component.kind).parameters
    own = {name: value for name, value in ready(component).items() if name not in common}
    return registry.load(component.kind, component.name)(*given, **own)


def ready(component: Component) -> dict[str, Any]:
    """A component's parameters as its function takes them: what is components is given as what these make."""
    return {
        name: [make(part) for part in value] if isinstance(value, tuple) else value
        for name, value in component.parameters.items()
    }


def _shared(component: Component) -> dict[str, Any]:
    """The parameters that are not the component's own but those of its kind."""
    common = registry.shared(component.kind).parameters
    return {name: value for name, value in component.parameters.items() if name in common}


def derive_seed(seed: int, purpose: str) -> int:
    """A seed in 0..2^63-1 for one purpose, so that no two draws of a cell share a stream."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8]) >> 1


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, torch's default generators of the CPU and of `device` start from `seed`; outside, nothing has changed."""
    cuda = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda, device_type="cuda"):
        # torch.manual_seed would also reseed every other device, for good.
        torch.default_generator.manual_seed(seed)
        for index in cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield


def _problem(split: Split) -> str:
    """What breaks the contract of a dataset, or nothing."""
    images, labels = split.images, split.labels
    if images.dtype not in {torch.uint8, torch.float32} or images.dim() != 4:
        return f"images are {images.dtype} {tuple(images.shape)}, not uint8 or float32 (count, channels, height, width)"
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1] or not len(labels):
        return f"labels are {labels.dtype} {tuple(labels.shape)} for {len(images)} images"
    if not 0 <= int(labels.min()) <= int(labels.max()) < split.num_classes:
        return f"labels go from {int(labels.min())} to {int(labels.max())}, but there are {split.num_classes} classes"
    if images.dtype == torch.float32 and not 0 <= float(images.min()) <= float(images.max()) <= 1:
        return f"pixels go from {float(images.min())} to {float(images.max())}, not from 0 to 1"
    if not len(split.mean) == len(split.std) == images.shape[1] or min(split.std) <= 0:
        return f"mean {split.mean} and std {split.std} do not fit {images.shape[1]} channels"
    return ""


def undeclared(dataset: Component, split: str, loaded: Split) -> str:
    """In what a split is not what its dataset declares, or nothing."""
    facts = registry.describe("dataset", dataset.name).facts
    size = facts.samples if split == "test" else chosen(facts.train_samples, dataset.parameters)
    pairs = {
        "samples": (size, len(loaded.labels)),
        "shape": (facts.shape, loaded.shape),
        "classes": (chosen(facts.classes, dataset.parameters), loaded.num_classes),
    }
    return "; ".join(
        f"{name}: {declared} declared, {found} found"
        for name, (declared, found) in pairs.items()
        if declared not in {None, found}
    )
