"""Layers that do what no part of a model may, or what it may; elementwise and for inputs of any shape."""

import torch
from torch import nn

from tasks import noise


class Writing(nn.Module):
    """Writes into what it is given."""

    def forward(self, net):
        with torch.no_grad():
            net += 1.0
        return net


class Noting(nn.Module):
    """Counts its passes, in evaluation too."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, net):
        self.passes += 1
        return 1.0 * net


class Dicing(nn.Module):
    """Draws from torch's own generator, and does not say so."""

    def forward(self, net):
        return net + 0.1 * torch.rand_like(net)


class Undeclared(nn.Module):
    """Draws as it should, and says so."""

    stochastic = True

    def forward(self, net):
        return net + 0.1 * noise.uniform(net)


class Silent(nn.Module):
    """Says that it draws, and does not."""

    stochastic = True

    def forward(self, net):
        return 1.0 * net


class Global(nn.Module):
    """Says that it draws, and does so from torch's own generator."""

    stochastic = True

    def forward(self, net):
        return net + 0.1 * torch.rand_like(net)


class Centring(nn.Module):
    """Takes the average of the batch away."""

    def forward(self, net):
        return net - 0.3 * net.mean(0, keepdim=True)


class Forgetful(nn.Module):
    """Has a weight that is not in its state."""

    def __init__(self):
        super().__init__()
        self.factor = float(1 + torch.rand(()))

    def forward(self, net):
        return self.factor * net


class Detached(nn.Module):
    """Lets no gradient through."""

    def forward(self, net):
        return net.detach() + 0 * net


class Later(nn.Module):
    """Has a factor for evaluation that acts in training."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, net):
        return self.factor * net


class InEvaluation(nn.Module):
    """Has a factor that acts in evaluation alone."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, net):
        return net if self.training else self.factor * net
