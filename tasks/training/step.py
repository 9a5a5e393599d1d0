"""One update of the weights from one batch: optimizers, and passes in less than float32. Knows nothing of epochs."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.optim import Optimizer

from tasks.model import Classifier, seeded
from tasks.training.objective import Loss
from tasks.types import Images, Labels

_REDUCED = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Step:
    """One update of the weights from one batch, in the precision asked for."""

    def __init__(self, model: Classifier, loss: Loss, optimizer: Optimizer, precision: str) -> None:
        self.model, self.optimizer = model, optimizer
        self._loss = loss
        self._precision = _REDUCED.get(precision)
        self._device = model.mean.device.type
        self._scaler = torch.amp.GradScaler(self._device) if precision == "float16" else None

    def resume(self, scaler: dict[str, Any] | None) -> None:
        """Go on scaling the loss where a training that was cut off has left it."""
        if self._scaler and scaler:
            self._scaler.load_state_dict(scaler)

    @property
    def scaler(self) -> dict[str, Any] | None:
        """What the loss is multiplied by, so that small gradients survive float16, and since when."""
        return self._scaler.state_dict() if self._scaler else None

    def __call__(self, images: Images, labels: Labels) -> tuple[Tensor, Labels]:
        """The loss before the update, a scalar, and the predictions that it was measured on, (batch,)."""
        if self._precision is None:
            loss, scores = self._loss(self.model, images, labels)
        else:
            with torch.autocast(self._device, self._precision):
                loss, scores = self._loss(self.model, images, labels)
        self.optimizer.zero_grad()
        if self._scaler is None:
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
            self.optimizer.step()
        else:
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self._scaler.step(self.optimizer)
            self._scaler.update()
        # Here too, so that the next forward pass is given their memory while the cache has it.
        self.optimizer.zero_grad()
        return loss.detach(), scores.detach().argmax(dim=1)


def least_batch(model: Classifier, image: Images) -> int:
    """How many images a batch needs: two where a batch normalisation has one value of each, which has no variance.

    `image`: (1, *shape), on the model's device. Leaves the model, and torch's generator, as they are.
    """
    alone: list[bool] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, given: alone.append(given[0][0, 0].numel() == 1))
        for layer in model.modules()
        if isinstance(layer, BatchNorm)
    ]
    was_training = model.training
    with torch.no_grad(), seeded(0, image.device):
        model.eval()(image)
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    return 2 if any(alone) else 1


def make_optimizer(model: Classifier, name: str, momentum: float, weight_decay: float, *, nesterov: bool) -> Optimizer:
    """Adam, AdamW or SGD with torch's betas and eps; the learning rate is set at each epoch."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if name == "sgd":
        return torch.optim.SGD(weights, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, fused=True)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(weights, weight_decay=weight_decay, fused=True)


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """The learning rate of the steps to come."""
    for group in optimizer.param_groups:
        group["lr"] = lr
