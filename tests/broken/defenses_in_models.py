"""Defenses that break one promise each, by what they put into the model."""

import torch
from torch import nn

from broken import layers
from broken.defenses import before
from broken.mark import breaks
from tasks.parameters import Positive
from tasks.registry import component
from tasks.training.objective import Defense


@breaks("leaves_its_inputs_alone")
@component("defense", version=1)
def writes_into_images():
    """What it puts in front of the model shifts the images in place, while nothing is trained."""

    class Shifting(nn.Module):
        def forward(self, images):
            if not self.training:
                with torch.no_grad():
                    images += 0.01
            return images

    return before(Shifting)


@breaks("evaluates_without_a_trace")
@component("defense", version=1)
def counts_passes():
    """What it puts in front of the model counts passes, in evaluation."""

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("passes", torch.zeros(()))

        def forward(self, images):
            if not self.training:
                self.passes += 1
            return images

    return before(Counting)


@breaks("draws_if_it_says_so")
@component("defense", version=1)
def draws_in_secret():
    """What it puts in front of the model draws, and neither declares it nor says so."""
    return before(layers.Dicing)


@breaks("draws_if_it_says_so")
@component("defense", version=1)
def draws_unsaid():
    """It declares that it draws nothing, and its module says that it does."""
    return before(layers.Undeclared)


@breaks("draws_if_it_says_so")
@component("defense", version=1, stochastic=True)
def draws_nothing():
    """It declares that it draws, and draws nothing."""
    return before(layers.Silent)


@breaks("draws_for_the_sample")
@component("defense", version=1, stochastic=True)
def draws_anywhere():
    """What it puts in front of the model draws from torch's own generator."""
    return before(layers.Global)


@breaks("is_the_same_in_any_batch")
@component("defense", version=1)
def centres():
    """What it puts in front of the model takes the average of the batch away."""
    return before(layers.Centring)


@breaks("is_whole_in_its_state")
@component("defense", version=1)
def forgets():
    """What it puts in front of the model has a weight that is not in its state."""
    return before(layers.Forgetful)


class Rounding(nn.Module):
    """Rounds, and lets no gradient through."""

    def forward(self, images):
        return (images.detach() * 8).round() / 8 + 0 * images


@breaks("passes_gradients_on")
@component("defense", version=1)
def rounds():
    """It rounds the images, whose gradient is then zero."""
    return before(Rounding)


@breaks("trains_alike_whatever_matters_later")
@component("defense", version=1, evaluation=("factor",))
def matters_at_once(*, factor: Positive = 1.0):
    """Its factor for evaluation acts in training as well."""
    return before(lambda: layers.Later(factor))


@breaks("trains_alike_whatever_matters_later")
@component("defense", version=1, evaluation=("shift",))
def starts_elsewhere(*, shift: Positive = 1.0):
    """Its parameter for evaluation is part of the state that a training begins with."""

    def adapt(model):
        model.register_buffer("shift", torch.tensor(shift))

    return Defense(adapt=adapt)
