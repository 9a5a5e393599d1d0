"""Activations that break one promise each."""

import torch
from torch import nn

from broken import layers
from broken.mark import breaks, keeps
from tasks import noise
from tasks.parameters import Positive
from tasks.registry import component


@keeps
@component("activation", version=1)
def good():
    """max(x, 0), elementwise."""
    return nn.ReLU()


class Jittering(nn.Module):
    """Adds a little noise."""

    stochastic = True

    def forward(self, net):
        return net.clamp(min=0) + 0.1 * noise.uniform(net)


@keeps
@component("activation", version=1, stochastic=True)
def good_that_draws():
    """max(x, 0) and a little noise, elementwise."""
    return Jittering()


class Penalised(nn.ReLU):
    """With a penalty and with regimes."""

    def __init__(self, penalty=0.5):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(penalty))

    def penalty(self):
        return self.weight.square()

    def forward(self, net):
        return super().forward(net) + 0 * self.weight

    def regimes(self, net):
        return net > 0, net <= 0


@keeps
@component("activation", version=1)
def good_with_penalty_and_regimes():
    """max(x, 0), elementwise, with a penalty and with regimes."""
    return Penalised()


@keeps
@component("activation", version=1, evaluation=("factor",))
def good_in_evaluation(*, factor: Positive = 2.0):
    """x in training, and factor times x in evaluation."""
    return layers.InEvaluation(factor)


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, net):
        return self.function(net)


@breaks("keeps_shape_and_type")
@component("activation", version=1)
def halves():
    """It keeps every second unit."""
    return Of(lambda net: net[:, ::2])


@breaks("keeps_shape_and_type")
@component("activation", version=1)
def in_float32():
    """It gives out float32 whatever it is given."""
    return Of(lambda net: net.float())


@breaks("keeps_shape_and_type")
@component("activation", version=1)
def for_vectors():
    """It takes what it is given for vectors."""
    return Of(lambda net: torch.einsum("nu->nu", net))


@breaks("works_on_units_or_blocks")
@component("activation", version=1)
def shares():
    """It divides each unit by the sum of all."""
    return Of(lambda net: net.softmax(1))


@breaks("works_on_units_or_blocks")
@component("activation", version=1, block="units")
def in_larger_blocks(*, units: int = 2):
    """It takes four neighbouring units together, and declares two."""
    return Of(lambda net: net.unflatten(1, (-1, 2 * units)).softmax(2).flatten(1, 2))


@breaks("is_finite_at_extremes")
@component("activation", version=1)
def squares():
    """It squares what it is given, which overflows."""
    return Of(torch.square)


@breaks("is_finite_at_extremes")
@component("activation", version=1)
def roots():
    """It takes the root, whose gradient at 0 is infinite."""
    return Of(lambda net: net.abs().sqrt())


class Taxing(nn.ReLU):
    """Has a penalty for each unit."""

    def penalty(self):
        return torch.ones(3, requires_grad=True)


@breaks("has_a_penalty_that_is_a_number")
@component("activation", version=1)
def taxes_each_unit():
    """Its penalty is a number for each unit."""
    return Taxing()


@breaks("has_a_penalty_that_is_a_number")
@component("activation", version=1, adds_to_loss=False)
def adds_undeclared():
    """It declares that it adds nothing to the loss, and has a penalty."""
    return Penalised()


class Overlapping(nn.ReLU):
    """Has regimes that overlap."""

    def regimes(self, net):
        return net > 0, net > -1


@breaks("has_regimes_that_are_masks")
@component("activation", version=1)
def in_both_regimes():
    """It calls a unit linear and saturated."""
    return Overlapping()


class Numbers(nn.ReLU):
    """Has regimes that are no masks."""

    def regimes(self, net):
        return (net > 0).float(), (net <= 0).float()


@breaks("has_regimes_that_are_masks")
@component("activation", version=1)
def with_numbers_for_masks():
    """Its regimes are numbers."""
    return Numbers()


@breaks("leaves_its_inputs_alone")
@component("activation", version=1)
def in_place():
    """It is a ReLU in place."""
    return nn.ReLU(inplace=True)


@breaks("evaluates_without_a_trace")
@component("activation", version=1)
def counts_its_passes():
    """It counts its passes, in evaluation too."""
    return layers.Noting()


@breaks("draws_if_it_says_so")
@component("activation", version=1)
def draws_unsaid():
    """It declares that it draws nothing, and its module says that it does."""
    return layers.Undeclared()


@breaks("draws_if_it_says_so")
@component("activation", version=1, stochastic=True)
def draws_nothing():
    """It declares that it draws, and draws nothing."""
    return layers.Silent()


@breaks("draws_for_the_sample")
@component("activation", version=1, stochastic=True)
def draws_anywhere():
    """It draws from torch's own generator."""
    return layers.Global()


@breaks("is_the_same_in_any_batch")
@component("activation", version=1)
def centres():
    """It takes the average of the batch away."""
    return layers.Centring()


@breaks("is_whole_in_its_state")
@component("activation", version=1)
def forgets():
    """It has a weight that is not in its state."""
    return layers.Forgetful()


@breaks("passes_gradients_on")
@component("activation", version=1)
def stops_gradients():
    """Its gradient is zero everywhere."""
    return layers.Detached()


@breaks("trains_alike_whatever_matters_later")
@component("activation", version=1, evaluation=("factor",))
def matters_at_once(*, factor: Positive = 1.0):
    """Its factor for evaluation acts in training as well."""
    return layers.Later(factor)
