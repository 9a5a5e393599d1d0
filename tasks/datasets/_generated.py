"""Generated images with labels in one `.npz` file, as the samples of class-conditional diffusion models are published.

Knows nothing of datasets: the caller says what one image is and how many classes there are.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tasks.types import DataError, Labels, Shape


def read_generated(path: Path, shape: Shape, num_classes: int) -> tuple[Tensor, Labels]:
    """The images, uint8 (count, *shape), and the labels, int64 (count,), in the order of the file.

    The file has the arrays `image`, uint8 (count, height, width, channels), and `label`, integers (count,), as those
    of Wang et al. (2023, https://arxiv.org/abs/2302.04638) have; others in it are not read. The images are not copied
    after they are read, so their channels lie last in memory. Raises DataError where the file is missing, torn or
    foreign, or has no images.
    """
    channels, height, width = shape
    labels = _array(path, "label")
    if labels.ndim != 1 or not len(labels) or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: label is {labels.dtype} {labels.shape}: there must be one integer for each image")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise DataError(f"{path}: holds labels {low} to {high}, but classes go from 0 to {num_classes - 1}")
    images = _array(path, "image")
    expected = (len(labels), height, width, channels)
    if images.dtype != np.uint8 or images.shape != expected:
        raise DataError(f"{path}: image is {images.dtype} {images.shape}, not uint8 {expected}")
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels.astype(np.int64))


def _array(path: Path, name: str) -> npt.NDArray[Any]:
    """One array of the file, read whole. Nothing is unpickled."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: is one array, not an .npz file with the arrays image and label")
            if name not in loaded.files:
                raise DataError(f"{path}: no array {name!r}. There are: {', '.join(map(repr, loaded.files))}")
            return np.asarray(loaded[name])
    except FileNotFoundError as error:
        raise DataError(f"{path}: missing: generated images are not downloaded for you") from error
    except MemoryError as error:
        raise DataError(f"{path}: {name} does not fit into memory: {error}") from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        first = str(error).strip().partition("\n")[0]
        raise DataError(f"{path}: not a whole .npz file of plain arrays: {first}") from error
