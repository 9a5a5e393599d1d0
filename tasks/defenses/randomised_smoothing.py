"""Randomised smoothing: Gaussian noise on the pixels, in training and whenever the model predicts."""

from torch import nn

from tasks import noise
from tasks.model import Classifier
from tasks.parameters import Positive
from tasks.registry import component
from tasks.training.objective import Defense
from tasks.types import Images


class GaussianNoise(nn.Module):
    """Adds N(0, sigma^2) to each pixel, in units of pixels in [0, 1]; same shape out as in."""

    stochastic = True

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, images: Images) -> Images:
        """Not clipped to [0, 1]: a clipped Gaussian has no certificate."""
        return images + self.sigma * noise.normal(images)


@component("defense", version=1, paper="https://arxiv.org/abs/1902.02918", stochastic=True, adds_to_loss=False)
def randomised_smoothing(*, sigma: Positive = 0.25) -> Defense:
    """Randomised smoothing (Cohen, Rosenfeld and Kolter 2019): noise of standard deviation `sigma` on the pixels.

    The smoothed classifier is g(x) = argmax_c P(f(x + e) = c), e ~ N(0, sigma^2 I) (their equation 1), with f trained
    under the same noise (their section 3.3). `sigma` is in units of pixels in [0, 1], and noisy pixels are not clipped
    to [0, 1], which the certificate does not allow for. The model draws at every evaluation, so the judge's vote over
    `draws` is g's prediction without abstaining, and attacks see the mean over `eot` draws. The radius within which g
    is constant is what the probe `certified_radius` measures. Together with another part that is put in front of the
    model, each is given what the one before it made.
    """

    def adapt(model: Classifier) -> None:
        model.input = nn.Sequential(model.input, GaussianNoise(sigma))

    return Defense(adapt=adapt)
