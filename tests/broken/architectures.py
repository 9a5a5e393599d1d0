"""Architectures that break one promise each. All are a linear layer and an activation, and something else."""

import math
import random

import torch
from torch import nn

from broken import layers
from broken.mark import breaks, keeps
from tasks.parameters import Positive
from tasks.registry import component


class Body(nn.Sequential):
    """Flatten, a linear layer of eight units, and what follows."""

    width = 8

    def __init__(self, shape, *after, before=()):
        super().__init__(*before, nn.Flatten(), nn.Linear(math.prod(shape), 8), *after)


@keeps
@component("architecture", version=1)
def good(shape, activation):
    """A perceptron with one hidden layer."""
    return Body(shape, activation())


@keeps
@component("architecture", version=1)
def good_convolution(shape, activation):
    """A convolution with batch normalisation, and a perceptron, for grey images of 28x28 pixels."""
    if shape != (1, 28, 28):
        raise ValueError(f"images are {shape}")
    return Body((4, 26, 26), activation(), before=(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), activation()))


@keeps
@component("architecture", version=1, stochastic=True)
def good_that_draws(shape, activation):
    """A perceptron with noise."""
    return Body(shape, activation(), layers.Undeclared())


@keeps
@component("architecture", version=1, evaluation=("factor",))
def good_in_evaluation(shape, activation, *, factor: Positive = 2.0):
    """A perceptron whose features are multiplied in evaluation."""
    return Body(shape, activation(), layers.InEvaluation(factor))


@breaks("gives_features_of_its_width")
@component("architecture", version=1)
def misjudges_its_width(shape, activation):
    """It has eight features, and says nine."""
    body = Body(shape, activation())
    body.width = 9
    return body


@breaks("gives_features_of_its_width")
@component("architecture", version=1)
def gives_maps(shape, activation):
    """Its features are maps."""
    return Body(shape, activation(), nn.Unflatten(1, (8, 1, 1)))


@breaks("tells_images_apart")
@component("architecture", version=1)
def sees_nothing(shape, activation):
    """Its features are the same whatever the image is."""
    body = Body(shape, activation())
    nn.init.zeros_(body[1].weight)
    return body


@breaks("uses_a_fresh_activation_at_each_place")
@component("architecture", version=1)
def uses_one_twice(shape, activation):
    """It has the same activation in two places."""
    own = activation()
    return Body(shape, own, nn.Linear(8, 8), own)


@breaks("uses_a_fresh_activation_at_each_place")
@component("architecture", version=1)
def asks_for_more(shape, activation):
    """It asks for an activation that it does not use."""
    activation()
    return Body(shape, activation())


@breaks("uses_a_fresh_activation_at_each_place")
@component("architecture", version=1)
def brings_its_own(shape, activation):
    """It has a ReLU whatever the cell's activation is."""
    return Body(shape, activation(), nn.Linear(8, 8), nn.ReLU())


class InPlace(nn.Module):
    """Doubles in place."""

    def forward(self, net):
        return net.mul_(2)


@breaks("keeps_what_its_activations_make")
@component("architecture", version=1)
def works_in_place(shape, activation):
    """It doubles in place what the activation made."""
    return Body(shape, activation(), InPlace())


@breaks("draws_its_weights_from_the_seed")
@component("architecture", version=1)
def starts_anywhere(shape, activation):
    """It draws its weights from Python's generator."""
    body = Body(shape, activation())
    nn.init.constant_(body[1].bias, random.random())
    return body


@breaks("draws_its_weights_from_the_seed")
@component("architecture", version=1)
def starts_alike(shape, activation):
    """It draws the same weights whatever the seed is."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Body(shape, activation())


@breaks("leaves_its_inputs_alone")
@component("architecture", version=1)
def writes_images(shape, activation):
    """It shifts the images in place."""
    return Body(shape, activation(), before=(layers.Writing(),))


class Running(nn.BatchNorm2d):
    """Goes on with its statistics in evaluation."""

    def forward(self, images):
        with torch.no_grad():
            self.running_mean += images.mean((0, 2, 3))
        return super().forward(images)


@breaks("evaluates_without_a_trace")
@component("architecture", version=1)
def goes_on_with_statistics(shape, activation):
    """It goes on with the statistics of its batch normalisation in evaluation."""
    return Body(shape, activation(), before=(Running(shape[0]),))


@breaks("draws_if_it_says_so")
@component("architecture", version=1)
def drops_out_for_ever(shape, activation):
    """It draws in evaluation as well, and does not say so."""
    return Body(shape, layers.Dicing(), activation())


@breaks("draws_if_it_says_so")
@component("architecture", version=1)
def draws_unsaid(shape, activation):
    """It declares that it draws nothing, and its module says that it does."""
    return Body(shape, activation(), layers.Undeclared())


@breaks("draws_if_it_says_so")
@component("architecture", version=1, stochastic=True)
def draws_nothing(shape, activation):
    """It declares that it draws, and draws nothing."""
    return Body(shape, activation(), layers.Silent())


@breaks("draws_for_the_sample")
@component("architecture", version=1, stochastic=True)
def draws_anywhere(shape, activation):
    """It draws from torch's own generator."""
    return Body(shape, activation(), layers.Global())


@breaks("is_the_same_in_any_batch")
@component("architecture", version=1)
def normalises_by_the_batch(shape, activation):
    """It takes the average of the batch away, in evaluation too."""
    return Body(shape, activation(), before=(layers.Centring(),))


@breaks("is_whole_in_its_state")
@component("architecture", version=1)
def forgets(shape, activation):
    """It has a weight that is not in its state."""
    return Body(shape, activation(), layers.Forgetful())


class Dead(Body):
    """Its activation is given nets far below 0; what reaches the features beside it has no gradient."""

    def forward(self, images):
        flatten, linear, activation = self
        net = linear(flatten(images))
        return activation(net - 10) + net.detach()


@breaks("passes_gradients_on")
@component("architecture", version=1)
def has_dead_units(shape, activation):
    """All its units are dead, and what tells images apart is cut off from the gradient."""
    return Dead(shape, activation())


@breaks("trains_alike_whatever_matters_later")
@component("architecture", version=1, evaluation=("factor",))
def matters_at_once(shape, activation, *, factor: Positive = 1.0):
    """Its factor for evaluation acts in training as well."""
    return Body(shape, activation(), layers.Later(factor))
