"""One update of the weights from one batch: optimizers, and passes in less than float32. Knows nothing of epochs."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from tasks.model import Classifier
from tasks.objective import Loss
from tasks.types import Images, Labels

_REDUCED = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_Update: TypeAlias = Callable[..., None]
"""Changes weights in place: (learning rate, weights, gradients, then a list for each thing that is remembered)."""


class Optimizer(torch.optim.Optimizer):
    """The fused kernel of one of torch's optimizers, without what torch's own class does around it.

    Beside a small network that takes as long as half the kernel. `lr` is set at each epoch. `remembered` are the
    tensors that go from one step to the next, by the number of their weight and their name.
    """

    def __init__(self, weights: list[Tensor], names: list[str], update: _Update) -> None:
        super().__init__(weights, {})
        self.lr = 0.0
        self._update = update
        self._rows = [(weight, [_zeros(name, weight) for name in names]) for weight in weights]
        self.remembered = {
            f"{number}.{name}": tensor
            for number, (_, tensors) in enumerate(self._rows)
            for name, tensor in zip(names, tensors, strict=True)
        }

    @torch.no_grad()
    def update(self) -> None:
        """One step of the weights that have a gradient."""
        rows = [(weight, weight.grad, *tensors) for weight, tensors in self._rows if weight.grad is not None]
        if rows:
            self._update(self.lr, *map(list, zip(*rows, strict=True)))

    def step(self, closure: None = None) -> None:  # type: ignore[override] # no loss is evaluated again
        """The same, as a GradScaler calls it."""
        del closure
        self.update()

    def forget(self) -> None:
        """Let go of the gradients."""
        for weight, _ in self._rows:
            weight.grad = None


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
        self.optimizer.forget()
        if self._scaler is None:
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
            self.optimizer.update()
        else:
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self._scaler.step(self.optimizer)
            self._scaler.update()
        # Here too, so that the next forward pass is given their memory while the cache has it.
        self.optimizer.forget()
        return loss.detach(), scores.detach().argmax(dim=1)


def make_optimizer(model: Classifier, name: str, momentum: float, weight_decay: float, *, nesterov: bool) -> Optimizer:
    """Adam, AdamW or SGD with torch's betas and eps; the learning rate is set at each epoch."""
    weights: list[Tensor] = [weight for weight in model.parameters() if weight.requires_grad]
    if name == "sgd":
        return Optimizer(weights, ["momentum"] if momentum else [], _sgd(momentum, weight_decay, nesterov=nesterov))
    kernel = torch._fused_adamw_ if name == "adamw" else torch._fused_adam_
    return Optimizer(weights, ["exp_avg", "exp_avg_sq", "step"], _adam(kernel, weight_decay))


def _adam(kernel: Callable[..., None], weight_decay: float) -> _Update:
    options = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False, "maximize": False}

    def update(lr: float, weights: list[Tensor], gradients: list[Tensor], *remembered: list[Tensor]) -> None:
        exp_avgs, exp_avg_sqs, steps = remembered
        torch._foreach_add_(steps, 1)
        kernel(weights, gradients, exp_avgs, exp_avg_sqs, [], steps, lr=lr, weight_decay=weight_decay, **options)

    return update


def _sgd(momentum: float, weight_decay: float, *, nesterov: bool) -> _Update:
    def update(lr: float, weights: list[Tensor], gradients: list[Tensor], *buffers: list[Tensor]) -> None:
        torch._fused_sgd_(
            weights,
            gradients,
            buffers[0] if buffers else [],
            weight_decay=weight_decay,
            momentum=momentum,
            lr=lr,
            dampening=0.0,
            nesterov=nesterov,
            maximize=False,
            is_first_step=False,  # in which a buffer becomes the gradient: as one of zeros does anyway
        )

    return update


def _zeros(name: str, weight: Tensor) -> Tensor:
    """What is remembered of a weight lies in memory as the weight does: kernels walk through both at once."""
    return torch.zeros((), device=weight.device) if name == "step" else torch.zeros_like(weight)
