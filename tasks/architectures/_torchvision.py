"""What the architectures from torchvision need to become bodies of a cell: fresh activations and ImageNet weights."""

import re
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

from torch import nn

from tasks.architectures._fitting import unfit_weights
from tasks.refusals import refuse
from tasks.types import TaskError


def replace_activations(body: nn.Module, kind: type[nn.Module], activation: Callable[[], nn.Module]) -> None:
    """Put a fresh activation in the place of every module of `kind`, each of which must have one place alone.

    They are made in the order in which the body registered the modules, which must be that of the forward pass.
    torchvision's own overwrite their input. The cell's need not, so nothing here relies on it.
    """
    for path in [path for path, module in body.named_modules() if isinstance(module, kind)]:
        parent, _, name = path.rpartition(".")
        setattr(body.get_submodule(parent), name, activation())


def load_imagenet(body: nn.Module, weights: Any, stem: str) -> None:  # noqa: ANN401 - torchvision is untyped
    """Fill `body` with a member of torchvision's weights, downloaded into torch's hub folder if it is not there.

    What `body` leaves out, such as the last linear layer, stays out. Raises TaskError where the stem is not that of
    ImageNet or the download fails.
    """
    refuse(TaskError, unfit_weights(stem))
    try:
        # Tensors alone: whatever else a pickle holds is refused.
        loaded = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, HTTPException) as error:
        raise TaskError(f"pretrained: the download of {weights} failed: {str(error).strip()}") from error
    own = set(body.state_dict())
    # DenseNet's file dates from when names of modules could have dots.
    renamed = {re.sub(r"(denselayer\d+\.[a-z]+)\.(\d)", r"\1\2", name): tensor for name, tensor in loaded.items()}
    body.load_state_dict({name: tensor for name, tensor in renamed.items() if name in own})
