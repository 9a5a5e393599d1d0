"""Defensive distillation: a model learns the softened probabilities of another of its own kind."""

import torch
from torch import Tensor

from tasks.model import Classifier
from tasks.parameters import Positive
from tasks.registry import component
from tasks.training.objective import Defense, Loss
from tasks.types import Images, Labels, Scores


@component("defense", version=1, paper="https://arxiv.org/abs/1511.04508", base={"teacher": True}, loss=True)
def distillation(*, temperature: Positive = 20, teacher: bool = False) -> Defense:
    """Defensive distillation (Papernot et al. 2016): train on a teacher's probabilities at a high temperature.

    The teacher, the same cell with `teacher` true, is trained first, on -log p_label. The student is trained on
    -sum_k q_k log p_k, the mean over the batch, where q are the teacher's probabilities. Both p and q are taken at
    `temperature`. The student is evaluated at temperature 1, where its softmax saturates: its scores were made to be
    divided. The loss is not multiplied by temperature^2, which Hinton et al. 2015 do and this paper does not, so with
    SGD a high temperature learns slowly.

    The temperature divides the scores that a head turns into log-probabilities, which for the softmax head is the
    paper's softmax(z / T). For other heads it is an extension of ours: their scores are no logits, and for softRmax all
    probabilities tend to those of z = 0. A head's own training loss, if it has one, is not used. The teacher is asked
    for each batch once, on the images that the student is trained on, so on crafted ones if the images are crafted;
    the paper labels the clean images once, which for those is the same.
    """
    if teacher:
        return Defense(loss=_hard(temperature))
    return Defense(taught=lambda model: Defense(loss=_soft(temperature, model)))


def _hard(temperature: float) -> Loss:
    """The mean negative log-likelihood of the true classes."""

    def loss(model: Classifier, images: Images, labels: Labels) -> tuple[Tensor, Scores]:
        scores = model(images)
        return -model.log_probabilities(scores / temperature).gather(1, labels[:, None]).mean(), scores

    return loss


def _soft(temperature: float, teacher: Classifier) -> Loss:
    """The mean cross-entropy of the student's probabilities under the teacher's."""

    def loss(model: Classifier, images: Images, labels: Labels) -> tuple[Tensor, Scores]:
        with torch.no_grad():
            taught = teacher.log_probabilities(teacher(images) / temperature).exp()
        scores = model(images)
        return -(taught * model.log_probabilities(scores / temperature)).sum(1).mean(), scores

    return loss
