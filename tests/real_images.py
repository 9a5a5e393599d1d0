"""Real images for tests: the data root with what is there, and CIFAR-10 in its binary form, quick to read.

Decoding all of its 60,000 JPEGs takes longer than most tests, so of each split the first few hundred are decoded, and
repeated until the files have as many rows as they must.
"""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
_KEPT = 500
_ROWS = 10_000
_FILES = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}


def real_images(folder, *needed):
    """A data root in `folder` with MNIST, Fashion-MNIST and CIFAR-10; skips the test where `needed` are not there."""
    for name in needed:
        if not (DATA / name).exists():
            pytest.skip(f"no {name} under {DATA}")
    for name in ("MNIST", "FashionMNIST"):
        if (DATA / name).exists():
            (folder / name).symlink_to(DATA / name)
    if (DATA / "cifar10-jpeg").exists():
        (folder / "cifar-10-batches-bin").mkdir()
        for split, files in _FILES.items():
            rows = _decoded(DATA / "cifar10-jpeg" / f"{split}.parquet")
            for name in files:
                np.resize(rows, (_ROWS, rows.shape[1])).tofile(folder / "cifar-10-batches-bin" / name)
    return folder


def _decoded(path):
    """A row for each image as the binary files have it: the label, then the red, the green and the blue pixels."""
    batch = next(pq.ParquetFile(path).iter_batches(_KEPT))
    labels = batch.column(1).to_numpy().astype(np.uint8)
    pixels = [np.asarray(Image.open(io.BytesIO(each["bytes"].as_py()))) for each in batch.column(0)]
    return np.hstack([labels[:, None], np.stack(pixels).transpose(0, 3, 1, 2).reshape(len(labels), -1)])
