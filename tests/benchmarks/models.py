"""The two classifiers of Fashion-MNIST that attacks are timed on, trained once and then kept, and images for them."""

import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tasks import registry
from tasks.config import Cell, Component
from tasks.model import build_model, load_split
from tasks.streams import sample_order
from tasks.training.train import train
from tasks.types import DataRoot

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "attackgrid"
ARCHITECTURES = {"cnn": ("cnn_2conv", {}), "mlp": ("mlp", {"hidden": [256]})}
EPOCHS = 3


def component(kind, name, **parameters):
    described = registry.describe(kind, name)
    defaults = {key: parameter.default for key, parameter in described.parameters.items()}
    return Component(kind, name, described.version, defaults | parameters)


def cell(model):
    name, parameters = ARCHITECTURES[model]
    return Cell(
        dataset=component("dataset", "fashion_mnist"),
        architecture=component("architecture", name, **parameters),
        activation=component("activation", "relu"),
        head=component("head", "softmax"),
        defense=component("defense", "natural"),
        training=component("training", "standard", epochs=EPOCHS),
        seed=0,
    )


def trained(model, data_root, device):
    """The classifier, in evaluation mode, with no parameter asking for a gradient."""
    wanted, root = cell(model), DataRoot(data_root)
    kept = CACHE / "benchmarks" / f"{wanted.id}.safetensors"
    if not kept.is_file():
        made, _ = train(wanted, root, torch.device("cpu"))
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in made.state_dict().items()}, kept)
    # The weights are copied into the layout that the architecture chose.
    found = build_model(wanted, load_split(wanted.dataset, "test", root))
    found.load_state_dict(load_file(kept))
    return found.eval().requires_grad_(requires_grad=False).to(device)


def samples(model, data_root, count, device):
    """The first `count` test images, in the shuffled order, that the model classifies correctly: pixels and labels."""
    split = load_split(component("dataset", "fashion_mnist"), "test", DataRoot(data_root))
    order = sample_order(len(split.labels), "shuffled")[: 2 * count + 50]
    images, labels = split.images[order].to(device).float() / 255, split.labels[order].to(device)
    with torch.no_grad():
        right = torch.cat([model(part).argmax(1) for part in images.split(250)]) == labels
    return images[right][:count].contiguous(), labels[right][:count]
