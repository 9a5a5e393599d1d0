"""One pass of a model, checked: the scores of a batch, and what a model must have for it.

Knows nothing of attacks, of counting, or of rows of results.
"""

from typing import Any

import torch
from torch import Tensor, nn

from tasks.noise import Noise, drawing
from tasks.types import AttackError, Images, ModelError, Scores


def classifier(model: nn.Module) -> Any:  # noqa: ANN401 - any module with these three members will do
    """The model, if it has the buffers `mean` and `std` and `log_probabilities(scores)`; else ModelError."""
    lacking = [name for name in ("mean", "std", "log_probabilities") if not hasattr(model, name)]
    if lacking:
        raise ModelError(f"{type(model).__name__} has no {', '.join(lacking)}")
    return model


def scores_of(model: nn.Module, pixels: Images, fixed_batch: int | None, noise: Noise | None = None) -> Scores:
    """The model's scores, in padded chunks of exactly `fixed_batch` rows if given. ModelError on a wrong shape."""
    scores: Scores
    if fixed_batch is None:
        with drawing(noise):
            scores = model(pixels)
    else:
        rows = torch.arange(len(pixels) + -len(pixels) % fixed_batch, device=pixels.device)
        rows = torch.where(rows < len(pixels), rows, 0).view(-1, fixed_batch)
        chunks = []
        for chunk in rows:
            with drawing(noise.at(chunk) if noise else None):
                chunks.append(model(pixels[chunk]))
        scores = torch.cat(chunks)[: len(pixels)] if chunks else model(pixels)
    if scores.dim() != 2 or len(scores) != len(pixels):
        raise ModelError(f"scores of shape {tuple(scores.shape)} for {len(pixels)} images; (batch, classes) was due")
    return scores


def refuse_broken(marks: Tensor, samples: Tensor) -> None:
    """Raise ModelError naming the samples whose marks are not zero (NaN marks a score that is not finite)."""
    if named := _named(marks, samples):
        raise ModelError(f"the model's scores are not finite for {named}")


def refuse_asked(marks: Tensor, samples: Tensor, by: str) -> None:
    """Raise AttackError likewise, where NaN marks an image that is not finite and that the model was asked about."""
    if named := _named(marks, samples):
        raise AttackError(f"{by} asked the model about images that are not finite for {named}")


def _named(marks: Tensor, samples: Tensor) -> str:
    """How many samples have marks that are not zero, and the first of them; nothing where there are none."""
    broken = ~(marks == 0)
    if not bool(broken.any()):
        return ""
    first = ", ".join(str(sample) for sample in samples[broken].tolist()[:5])
    return f"{int(broken.sum())} samples, first: {first}"
