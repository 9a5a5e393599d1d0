"""Training that keeps layers from stretching distances."""

from torch import Tensor

from tasks.defenses._weights import gram_penalty
from tasks.model import Classifier
from tasks.parameters import Positive
from tasks.registry import component
from tasks.training.objective import Defense
from tasks.types import Images, Labels


@component("defense", version=1, paper="https://arxiv.org/abs/1704.08847")
def orthogonality(*, beta: Positive = 1e-3) -> Defense:
    """A penalty on weights whose rows or columns are not orthonormal.

    `beta` / 2 times the sum over linear layers and convolutions, the head's among them, of |W^T W - I|_F^2: the
    regulariser of Cisse et al. (2017), "Parseval Networks". A convolution's W is (out, in k k), and the smaller of
    W^T W and W W^T is taken, which changes no gradient. It is added to the loss, as Lin et al. do
    (2019, https://arxiv.org/abs/1904.08444); Cisse et al. take a step of its own on it after each step of training,
    and have a scale for convolutions and convex sums where branches meet. The default of `beta` is ours.
    """

    def penalty(model: Classifier, images: Images, labels: Labels) -> Tensor:
        return gram_penalty(model, beta)

    return Defense(penalty=penalty)
