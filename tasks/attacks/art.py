"""Every evasion attack of the Adversarial Robustness Toolbox as a case."""

import torch
from torch import nn

from tasks.attacks._peer import (
    P,
    PixelModel,
    accepted,
    attack_class,
    called,
    classes,
    library,
    make,
    pixel_eps,
    refuse_eps,
)
from tasks.cases import Budget
from tasks.config import Json
from tasks.counted import CountedModel
from tasks.packages import install
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Rows, Steps


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/1807.01069",
    norms=("linf", "l2", "l1", "l0"),
    budget="either",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    requires=("art",),
)
def art(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    attack: str,
    **parameters: Json,
) -> tuple[Images, Steps]:
    """An attack of ART 1, https://arxiv.org/abs/1807.01069: `attack` names its evasion class, such as ElasticNet.

    Further parameters are the class's own. A class with a parameter `eps` needs a budget with an eps; any other takes
    none. Unless given, `batch_size` is that of the samples, but at least 128. A target needs a class with a
    parameter `targeted`.

    ART computes in float32, draws from global generators and attacks a batch as one, so that a sample's result
    depends on the batch that it is in. Its version is in no id.
    """
    attacks = library("art.attacks.evasion", install("art"))
    kind = attack_class(attacks, attack, library("art.attacks.attack", install("art")).EvasionAttack)
    wrapper = library("art.estimators.classification", install("art")).PyTorchClassifier
    eps = pixel_eps(model, budget, images.shape[1])
    refuse_eps(kind, eps)
    if model.targets is not None and "targeted" not in accepted(kind):
        raise AttackError(f"ART's {attack} cannot be targeted")
    ours = {"eps": eps, "norm": P[budget.norm], "targeted": model.targets is not None}
    usual = {"batch_size": max(len(images), 128), "verbose": False}

    def run(module: PixelModel, pixels: Images, rows: Rows) -> Images:
        wrapped = wrapper(
            module.eval(),
            nn.CrossEntropyLoss(),
            tuple(pixels.shape[1:]),
            model.num_classes,
            clip_values=(0.0, 1.0),
            device_type="gpu" if pixels.is_cuda else "cpu",
        )
        made = make(kind, (wrapped,), parameters, ours, usual)
        aims = nn.functional.one_hot(classes(model, labels)[rows], model.num_classes)
        return torch.from_numpy(made.generate(pixels.float().cpu().numpy(), aims.cpu().numpy()))

    return called(f"ART's {attack}", run, model, images, streams)
