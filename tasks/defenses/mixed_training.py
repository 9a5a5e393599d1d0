"""Adversarial training with a mix of attacks, one of them or none for each batch."""

import functools
from collections.abc import Iterator, Sequence
from typing import Literal

import torch

from tasks.attacks.cw import cw
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.defenses._crafting import evaluating, fgsm, pgd, step_length, uniform
from tasks.lone_class import lone_class
from tasks.model import Classifier
from tasks.parameters import Count, Positive, Share
from tasks.refusals import refuse
from tasks.registry import component
from tasks.streams import Streams
from tasks.training.objective import Craft, Defense
from tasks.types import Images, Labels, TaskError


@component("defense", version=1)
def mixed_training(
    *,
    eps: Positive,
    attacks: list[Literal["pgd", "fgsm", "cw", "noise"]] = ["pgd", "fgsm", "cw", "noise"],  # noqa: B006 - read from the source as a literal, and never changed
    clean: Share = 0.5,
    steps: Count = 10,
    alpha: Positive | None = None,
    cw_steps: Count = 20,
    cw_lr: Positive = 0.01,
    cw_variant: Literal["published", "corrected"] = "published",
) -> Defense:
    """Mixed adversarial training: a batch is left clean, or all of it goes through one attack drawn for it.

    As in the study of stochastic winner-takes-all networks (Paris-Dauphine 2024): a whole number is drawn uniformly
    from 0 to 7, four outcomes leave the batch clean and four attack it, one each for PGD, FGSM, CW and noise. Here a
    batch stays clean with probability `clean`, and the rest goes in equal parts to the `attacks`, of which one may be
    listed twice. The study's shorter lists, whose parts it does not state, are taken to share the half likewise; with
    one outcome in eight for each, `clean` is 1 - len(attacks) / 8.

    `eps` and `alpha` are in units of pixels in [0, 1], linf; nothing is moved out of [0, 1]. pgd: `steps` of length
    `alpha` (2.5 eps / steps unless given) from a uniform point of the ball; fgsm: one step of eps; noise: uniform in
    the ball. cw is the attack of that name in its published variant (tanh, c = 1e-4, confidence 0.01, one search of
    `cw_steps` steps of Adam at `cw_lr`) or, corrected, with its own defaults for these and one search; it has no eps.

    The study attacks with eps 0.3, alpha 0.01 and 3 steps when it evaluates, and does not say with what it trains; nor
    the steps and the rate of cw. The defaults are ours. With so small a c the published cw hardly moves an image, and
    its batches are as good as clean: the corrected one crosses the boundary of most.

    Raises TaskError where no attack is listed.
    """
    refuse(TaskError, refuses(attacks=attacks))
    length = step_length(alpha, eps, steps)

    def by_pgd(model: Classifier, images: Images, labels: Labels) -> Images:
        return pgd(model, images, labels, norm="linf", eps=eps, steps=steps, alpha=length, random_start=True)

    def by_fgsm(model: Classifier, images: Images, labels: Labels) -> Images:
        return fgsm(model, images, labels, eps)

    def by_cw(model: Classifier, images: Images, labels: Labels) -> Images:
        samples, budget = torch.arange(len(labels), device=labels.device), Budget("l2", None)
        # The attack's own numbers, such as distances, are not for half precision.
        with evaluating(model), torch.autocast(images.device.type, enabled=False):
            counted = CountedModel(model, samples, budget, num_classes=model.num_classes)
            streams = Streams("", samples)  # cw draws nothing from them
            how = functools.partial(cw, search_steps=1, steps=cw_steps, lr=cw_lr, variant=cw_variant)
            return how(counted, images, labels, budget, streams)[0]

    def by_noise(model: Classifier, images: Images, labels: Labels) -> Images:
        return uniform(images, "linf", eps).clamp_(0, 1)

    named: dict[str, Craft] = {"pgd": by_pgd, "fgsm": by_fgsm, "cw": by_cw, "noise": by_noise}
    crafts = [named[name] for name in attacks]

    def craft(model: Classifier, images: Images, labels: Labels) -> Images:
        # Drawn on the CPU: a number drawn on a GPU would have to be waited for.
        if float(torch.rand(())) < clean:
            return images
        return crafts[int(torch.randint(len(crafts), ()))](model, images, labels)

    return Defense(craft=craft)


def refuses(*, attacks: Sequence[str], clean: float = 1.0, classes: int | None = None) -> Iterator[str]:
    """No attack to draw, or one that compares classes where there is only one."""
    if "cw" in attacks and clean < 1:
        yield from lone_class("mixed_training: cw", classes)
    if not attacks:
        yield "mixed_training: attacks is empty; list some of pgd, fgsm, cw, noise, or train naturally"
