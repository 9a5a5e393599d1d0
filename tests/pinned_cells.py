"""The numbers of what a cell is made of and trained with: architectures, activations, heads, defenses, trainings."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

import torch
from pinned import Case, Found
from pinned_choices import choices
from pinned_model import CLASSES, digits, drawn, filled, in_float64, pixels, small, summed
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

from tasks import registry
from tasks.config import CELL_PARTS, Cell, Component, Json
from tasks.model import build_model, make
from tasks.noise import Noise, drawing
from tasks.registry import Description
from tasks.schema import is_added_later
from tasks.streams import Streams
from tasks.training.objective import Defense, mean_loss, objective
from tasks.types import Split

Parameters = Mapping[str, Json]

_SHAPES = ((1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 16, 16), (3, 32, 32), (3, 80, 80))
_TOO_LARGE = {("architecture", "vgg16", "imagenet"), ("architecture", "resnet101", "imagenet")}
"""A gigabyte of weights, and the stem of resnet50 once more."""
_STEPS, _BATCH, _RATE = 3, 16, 0.2
_SEEN = 4
"""Images of the test split that a model is asked about."""


def part_cases(description: Description) -> Iterator[Case]:
    """Every choice that fits a small machine."""
    for parameters in choices(description):
        large = (description.kind, description.name, parameters.get("stem")) in _TOO_LARGE
        if not large and not parameters.get("pretrained"):  # whose weights are somebody else's, and downloaded
            yield Case({}, parameters)


def training_cases(description: Description) -> Iterator[Case]:
    """Likewise; what passes in less than float32 is no float64, and is pinned to a hundredth."""
    for parameters in choices(description):
        reduced = parameters.get("precision", "float32") != "float32"
        yield (
            Case({"weights": "float32"}, parameters, rtol=0.02) if reduced else Case({"weights": "float64"}, parameters)
        )


def architecture(name: str, under: Parameters, parameters: Parameters) -> Found:
    """Scores of a seeded model while it evaluates and while it trains, and how many weights it has."""
    shape, model = _built(name, parameters)
    images = (drawn(7, 2, *shape) + 1) / 2
    with torch.no_grad(), _halving():
        evaluated = model.eval()(images)
        # The statistics of two images would blow rounding up, layer by layer, to what another processor does not keep.
        normalising = [module for module in model.train().modules() if isinstance(module, BatchNorm)]
        for module in normalising:
            module.eval()
        trained = model(images)
    return {
        "shape": list(shape),
        "activations": len(model.activations),
        "normalisations": [[module.num_features, module.eps, module.momentum] for module in normalising[:3]],
        "num_parameters": sum(weight.numel() for weight in model.parameters()),
        "scores": evaluated.tolist(),
        "training_scores": trained.tolist(),
    }


def _built(name: str, parameters: Parameters):
    """The model for the first shape that the architecture takes."""
    for shape in _SHAPES:
        split = Split(torch.zeros(1, *shape), torch.zeros(1), ("a", "b", "c"), (0.4,) * shape[0], (0.3,) * shape[0])
        try:
            with in_float64():
                return shape, build_model(_cell(architecture=Component("architecture", name, 1, parameters)), split)
        except ValueError:
            if shape == _SHAPES[-1]:
                raise
    raise AssertionError


def _cell(**parts: Component) -> Cell:
    usual = {"activation": "relu", "architecture": "mlp", "head": "softmax", "defense": "natural"}
    defaults = {"mlp": {"hidden": [6, 6]}}
    toys = {
        kind: Component(kind, usual.get(kind, "toy"), 1, defaults.get(usual.get(kind, ""), {})) for kind in CELL_PARTS
    }
    return Cell(**toys | parts, seed=0)


@contextmanager
def _halving() -> Iterator[None]:
    """What drops at random scales instead: which units a generator drops is no number of an architecture."""
    names = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
    before = {name: getattr(functional, name) for name in names}
    try:
        for name in names:
            setattr(functional, name, lambda x, p=0.5, training=True, inplace=False: x * (1 - p / 2 * training))
        yield
    finally:
        for name, function in before.items():
            setattr(functional, name, function)


def activation(name: str, under: Parameters, parameters: Parameters) -> Found:
    """Values, gradients and penalties at some nets, in both modes, and the scores of a body that has it."""
    own = {key: value for key, value in parameters.items() if key not in registry.shared("activation").parameters}
    found: dict[str, Json] = {}
    nets = {
        "dense": torch.linspace(-3.5, 3.5, 24, dtype=torch.float64).view(2, 12),
        "map": 8 * drawn(3, 2, 6, 1, 2),
        "far": 150 * drawn(6, 1, 6),
    }
    for place, net in nets.items():
        module = registry.load("activation", name)(**own).double()
        for mode in (False, True):
            found |= {f"{place} {'train' if mode else 'test'} {key}": value
                for key, value in _activated(module.train(mode), net).items()}  # fmt: skip
    split = Split(torch.zeros(1, 1, 4, 4), torch.zeros(1), ("a", "b", "c"), (0.4,), (0.3,))
    model = filled(build_model(_cell(activation=Component("activation", name, 1, parameters)), split), 2).eval()
    with torch.no_grad(), drawing(_noise(2)):
        return {**found, "scores": model(drawn(5, 2, 1, 4, 4)).tolist()}


def _activated(module: nn.Module, net: Tensor) -> Found:
    net = net.clone().requires_grad_()
    torch.default_generator.manual_seed(1)
    with drawing(None if module.training else _noise(len(net))):
        values = module(net)
    penalty = getattr(module, "penalty", None)
    charged = penalty() if callable(penalty) else torch.zeros(())
    total = values.pow(2).sum() + charged
    asked = [net, *(weight for weight in module.parameters() if weight.requires_grad)]
    gradients = torch.autograd.grad(total, asked, allow_unused=True) if total.requires_grad else []
    regimes = module.regimes(net) if hasattr(module, "regimes") else ()
    return {
        "values": values.flatten().tolist(),
        "gradients": [[] if each is None else each.flatten().tolist() for each in gradients],
        "penalty": float(charged.detach()),
        "regimes": [mask.flatten().tolist() for mask in regimes],
    }


def _noise(rows: int) -> Noise:
    return Noise(Streams("pinned model", torch.arange(rows)), torch.zeros(rows, dtype=torch.int64))


def head(name: str, under: Parameters, parameters: Parameters) -> Found:
    """Scores of some features; probabilities, losses and their gradients at small, large and tied scores."""
    torch.default_generator.manual_seed(1)
    with in_float64():
        made = registry.load("head", name)(6, 4, **parameters)
        corners = torch.cat([torch.eye(4)[:1], torch.zeros(1, 4), torch.ones(1, 4)])
    scores = torch.cat([drawn(1, 3, 4), 30 * drawn(2, 2, 4), corners])
    scores.requires_grad_()
    labels = torch.arange(len(scores)) % 4
    logs = made.log_probabilities(scores)
    finite = logs.masked_fill(logs.isinf(), 0)
    losses = made.losses(scores, labels) if hasattr(made, "losses") else finite.gather(1, labels[:, None])[:, 0]
    (of_logs,) = torch.autograd.grad((finite * drawn(3, *finite.shape)).sum(), scores, retain_graph=True)
    (of_losses,) = torch.autograd.grad(losses.sum(), scores)
    return {
        "initial": summed(torch.cat([weight.detach().flatten() for weight in made.parameters()])[None]),
        "scores": filled(made, 4)(torch.cat([drawn(5, 2, 6), 20 * drawn(6, 2, 6)])).tolist(),
        "log_probabilities": logs.tolist(),
        "losses": losses.tolist(),
        "gradients": of_logs.tolist(),
        "loss_gradients": of_losses.tolist(),
    }


def component_of(kind: str, name: str, parameters: Parameters) -> Component:
    """A component whose list of components, if it has one, is made of those."""
    made = {
        key: tuple(component_of(kind, **part) for part in value) if _are_components(value) else value
        for key, value in parameters.items()
    }
    return Component(kind, name, 1, made)


def _are_components(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)


def defense(name: str, under: Parameters, parameters: Parameters) -> Found:
    """Losses of a few plain gradient steps in float64, the weights after them, and what the model then says."""
    images, labels = pixels("train")
    model, made = small(), make(component_of("defense", name, parameters))
    if made.adapt:
        made.adapt(model)
        model.double()
    if made.taught:
        made = made.taught(small(seed=1).eval())
    total, losses = objective(made, model), []
    for step in range(_STEPS):
        torch.default_generator.manual_seed(step)
        rows = slice(step * _BATCH, (step + 1) * _BATCH)
        loss, _ = total(model.train(), images[rows], labels[rows])
        loss.backward()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.grad is not None:
                    weight.sub_(_RATE * weight.grad)
        model.zero_grad()
        losses.append(float(loss.detach()))
    return {"losses": losses, **_state(model), **_asked(model.eval())}


def _state(model: nn.Module) -> Found:
    return {"weights": {name: summed(tensor.reshape(1, -1))[0] for name, tensor in sorted(model.state_dict().items())}}


def _asked(model: nn.Module) -> Found:
    """Scores, and for each image a sum of its gradient."""
    images, labels = (part[:_SEEN] for part in pixels("test"))
    images = images.clone().requires_grad_()
    with drawing(_noise(_SEEN)):
        scores = model(images)
    (gradient,) = torch.autograd.grad(model.losses(scores, labels).sum(), images)
    return {"scores": scores.tolist(), "image_gradients": summed(gradient)}


def training(name: str, under: Parameters, parameters: Parameters) -> Found:
    """The history of a few epochs in whose middle the labels turn wrong, and the weights that are kept."""
    splits = [
        replace(whole, images=whole.images[:number], labels=whole.labels[:number])
        for whole, number in ((digits("train"), 128), (digits("test"), 10))
    ]
    model = small().to(getattr(torch, str(under["weights"])))
    table = registry.load("training", name)(model, *splits, _turning(), 0, **parameters)
    # A column that came later is pinned where it has something to say.
    absent = {each.name for each in table.schema if is_added_later(each) and table[each.name].null_count == len(table)}
    history = {key: table[key].to_pylist() for key in table.column_names if key not in {"seconds", *absent}}
    return {**history, **_state(model)}


def _turning() -> Defense:
    """True classes for the first eight batches, then the next ones: losses fall, and rise again."""
    calls = count()

    def loss(model, images, labels):
        return mean_loss(model, images, labels if next(calls) < 8 else (labels + 1) % CLASSES)

    return Defense(loss=loss)
