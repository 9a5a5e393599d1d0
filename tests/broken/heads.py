"""Heads that break one promise each. All are linear layers and, but for what they break, softmax."""

import torch
from torch import nn

from broken import layers
from broken.mark import breaks, keeps
from tasks.parameters import Positive
from tasks.registry import component


class Head(nn.Linear):
    """A linear layer and softmax."""

    def log_probabilities(self, scores):
        return scores.log_softmax(1)


class Behind(Head):
    """With a layer between its linear layer and its scores."""

    def __init__(self, width, num_classes, layer):
        super().__init__(width, num_classes)
        self.layer = layer

    def forward(self, features):
        return self.layer(super().forward(features))


class Of(Head):
    """With another function for its probabilities."""

    def __init__(self, width, num_classes, function):
        super().__init__(width, num_classes)
        self.function = function

    def log_probabilities(self, scores):
        return self.function(scores)


class Costly(Head):
    """With a loss of its own."""

    def losses(self, scores, labels):
        return nn.functional.cross_entropy(scores, labels, reduction="none")


@keeps
@component("head", version=1)
def good(width, num_classes):
    """A linear layer and softmax."""
    return Head(width, num_classes)


@keeps
@component("head", version=1)
def good_with_a_loss(width, num_classes):
    """A linear layer and softmax, with a loss of its own."""
    return Costly(width, num_classes)


@keeps
@component("head", version=1, stochastic=True)
def good_that_draws(width, num_classes):
    """A linear layer, noise on the scores, and softmax."""
    return Behind(width, num_classes, layers.Undeclared())


@keeps
@component("head", version=1, evaluation=("factor",))
def good_in_evaluation(width, num_classes, *, factor: Positive = 2.0):
    """A linear layer, scores that are multiplied in evaluation, and softmax."""
    return Behind(width, num_classes, layers.InEvaluation(factor))


@breaks("gives_a_score_for_each_class")
@component("head", version=1)
def forgets_a_class(width, num_classes):
    """It has no score for the last class."""
    return Head(width, num_classes - 1)


@breaks("gives_a_score_for_each_class")
@component("head", version=1)
def without_probabilities(width, num_classes):
    """It has no probabilities."""
    return nn.Linear(width, num_classes)


@breaks("gives_a_score_for_each_class")
@component("head", version=1)
def in_float64(width, num_classes):
    """Its log-probabilities are float64 whatever the scores are."""
    return Of(width, num_classes, lambda scores: scores.double().log_softmax(1))


@breaks("gives_probabilities")
@component("head", version=1)
def unnormalised(width, num_classes):
    """Its probabilities do not sum to one."""
    return Of(width, num_classes, nn.functional.logsigmoid)


@breaks("gives_probabilities")
@component("head", version=1)
def overflows(width, num_classes):
    """It takes the exponentials first, which large scores overflow."""
    return Of(width, num_classes, lambda scores: (scores.exp() / scores.exp().sum(1, keepdim=True)).log())


@breaks("orders_probabilities_as_scores")
@component("head", version=1)
def upside_down(width, num_classes):
    """The larger a score, the less likely its class."""
    return Of(width, num_classes, lambda scores: (-scores).log_softmax(1))


class Hidden(torch.autograd.Function):
    """The identity, whose gradient is NaN for large values."""

    @staticmethod
    def forward(context, scores):
        context.save_for_backward(scores)
        return scores.clone()

    @staticmethod
    def backward(context, gradient):
        (scores,) = context.saved_tensors
        return torch.where(scores.abs() > 1e3, torch.nan, gradient)


@breaks("has_finite_gradients")
@component("head", version=1)
def with_broken_gradients(width, num_classes):
    """The gradient of large scores is NaN, although the probabilities are right."""
    return Of(width, num_classes, lambda scores: Hidden.apply(scores).log_softmax(1))


class Averaging(Head):
    """With a loss of the batch."""

    def losses(self, scores, labels):
        return nn.functional.cross_entropy(scores, labels)


@breaks("has_a_loss_for_each_image")
@component("head", version=1)
def averages_its_loss(width, num_classes):
    """Its own loss is one number for the batch."""
    return Averaging(width, num_classes)


class Writing(Head):
    """Scales the features in place."""

    def forward(self, features):
        with torch.no_grad():
            features *= 0.5
        return super().forward(features)


@breaks("leaves_its_inputs_alone")
@component("head", version=1)
def writes_features(width, num_classes):
    """It scales the features in place."""
    return Writing(width, num_classes)


@breaks("evaluates_without_a_trace")
@component("head", version=1)
def counts_its_passes(width, num_classes):
    """It counts its passes, in evaluation too."""
    return Behind(width, num_classes, layers.Noting())


@breaks("draws_if_it_says_so")
@component("head", version=1)
def draws_in_secret(width, num_classes):
    """It draws, and neither declares it nor says so."""
    return Behind(width, num_classes, layers.Dicing())


@breaks("draws_if_it_says_so")
@component("head", version=1, stochastic=True)
def draws_nothing(width, num_classes):
    """It declares that it draws, and draws nothing."""
    return Behind(width, num_classes, layers.Silent())


@breaks("draws_for_the_sample")
@component("head", version=1, stochastic=True)
def draws_anywhere(width, num_classes):
    """It draws from torch's own generator."""
    return Behind(width, num_classes, layers.Global())


@breaks("is_the_same_in_any_batch")
@component("head", version=1)
def centres(width, num_classes):
    """It takes the average of the batch away."""
    return Behind(width, num_classes, layers.Centring())


@breaks("is_whole_in_its_state")
@component("head", version=1)
def forgets(width, num_classes):
    """It has a weight that is not in its state."""
    return Behind(width, num_classes, layers.Forgetful())


class Stopping(Head):
    """Lets no gradient through to the features."""

    def forward(self, features):
        return super().forward(features.detach()) + 0 * features.sum()


@breaks("passes_gradients_on")
@component("head", version=1)
def stops_gradients(width, num_classes):
    """Its gradient in the features is zero everywhere."""
    return Stopping(width, num_classes)


@breaks("trains_alike_whatever_matters_later")
@component("head", version=1, evaluation=("factor",))
def matters_at_once(width, num_classes, *, factor: Positive = 1.0):
    """Its factor for evaluation acts in training as well."""
    return Behind(width, num_classes, layers.Later(factor))
