"""Files of so many records of so many bytes each, such as the binary versions of CIFAR."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tasks.types import DataError


def read_records(path: Path, count: int, size: int) -> Tensor:
    """(count, size) uint8. Raises DataError where the file cannot be read, or is of another length."""
    try:
        raw = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(raw) != count * size:
        wrong = "truncated" if len(raw) < count * size else "too long"
        raise DataError(f"{path}: {wrong}: {count} images are {count * size} bytes, but it has {len(raw)}")
    return torch.from_numpy(raw.reshape(count, size))
