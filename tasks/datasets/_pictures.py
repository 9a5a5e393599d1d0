"""Encoded images, and arrays of pixels that are alike. Knows nothing of labels or of where a data root is."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from tasks.types import DataError, Shape

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""(channels, height, width), or (count, channels, height, width)."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
"""Pillow opens many more, some of them by running other programs."""
_PLAIN = ("L", "RGB")
_CONVERTIBLE = (*_PLAIN, "1", "P", "PA", "LA", "RGBA", "CMYK", "YCbCr")
"""Eight bits a channel. Pillow cuts deeper pixels off at 255 instead of scaling them."""
_THREADS = 4
"""Enough: a small image is opened under Python's lock for as long as it is decoded outside it."""
_SHOWN = 5


@dataclass(frozen=True)
class Decoding:
    """How encoded images become alike: Pillow's mode to convert to, the shorter side, the central square."""

    mode: str | None = None
    size: int | None = None
    crop: int | None = None


def read_pictures(paths: list[Path], decoding: Decoding, shape: Shape | None = None, hint: str = "") -> Pixels:
    """The decoded files, in order, each of `shape`; without one, of that of the first.

    Raises DataError with all files that cannot be decoded or have another shape, the first few by name; `hint` says
    what the user can do about shapes.
    """
    wanted = shape or _read(paths[0], decoding).shape
    images = np.empty((len(paths), *wanted), dtype=np.uint8)

    def fill(row: int) -> str:
        try:
            pixels = _read(paths[row], decoding)
        except DataError as error:
            return str(error)
        if pixels.shape != wanted:
            expected = "" if shape else f" as that of {paths[0].name}"
            return f"{paths[row]}: the image has shape {pixels.shape}, not {wanted}{expected}{hint}"
        images[row] = pixels
        return ""

    with ThreadPoolExecutor(_THREADS) as threads:
        problems = [problem for problem in threads.map(fill, range(len(paths))) if problem]
    if problems:
        raise DataError(several(problems))
    return images


def several(problems: list[str]) -> str:
    """All problems in one message, the first few of them in words."""
    more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    if len(problems) == 1:
        return problems[0]
    return "\n  ".join([f"{len(problems)} problems", *problems[:_SHOWN], *more])


def decode(encoded: bytes, decoding: Decoding, where: str) -> Pixels:
    """The pixels of one encoded image. Raises DataError, which begins with `where`."""
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as picture:
            picture.load()
            made = _alike(picture, decoding)
    except UnidentifiedImageError as error:
        raise DataError(f"{where}: {len(encoded)} bytes that are no {', '.join(_FORMATS)} image") from error
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        first = str(error).strip().partition("\n")[0]
        raise DataError(f"{where}: the image cannot be decoded: {first}") from error
    pixels = np.asarray(made)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def mean_and_std(images: Pixels, place: Path) -> tuple[list[float], list[float]]:
    """Per channel, in units of [0, 1]: from sums of integers, so exact whatever the order."""
    total = squares = np.zeros(images.shape[1], dtype=np.int64)
    for part in np.array_split(images, -(-len(images) // 100)):
        total = total + part.sum(axis=(0, 2, 3), dtype=np.int64)
        squares = squares + np.square(part, dtype=np.int64).sum(axis=(0, 2, 3))
    count = images[:, 0].size
    spread = [count * int(square) - int(sum_) ** 2 for square, sum_ in zip(squares, total, strict=True)]
    if not min(spread):
        raise DataError(f"{place}: a channel of the training images has one value throughout: give mean and std")
    return [int(sum_) / count / 255 for sum_ in total], [value**0.5 / count / 255 for value in spread]


def _read(path: Path, decoding: Decoding) -> Pixels:
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    return decode(encoded, decoding, str(path))


def _alike(picture: Image.Image, decoding: Decoding) -> Image.Image:
    """As torchvision's Resize and CenterCrop would have it. Raises ValueError where that cannot be."""
    wanted = _PLAIN if decoding.mode is None else _CONVERTIBLE
    if picture.mode not in wanted:
        hint = "; mode: rgb or mode: grey converts it" if picture.mode in _CONVERTIBLE else ""
        raise ValueError(f"the image has mode {picture.mode}, not {' or '.join(wanted)}{hint}")
    made = picture.convert(decoding.mode) if decoding.mode else picture
    if decoding.size:
        short = min(made.size)
        width, height = (int(decoding.size * side / short) for side in made.size)
        made = made.resize((width, height), Image.Resampling.BILINEAR)
    if decoding.crop:
        width, height = made.size
        if decoding.crop > min(width, height):
            raise ValueError(f"the image is {width} wide and {height} high: no square of {decoding.crop} fits into it")
        left, top = round((width - decoding.crop) / 2), round((height - decoding.crop) / 2)
        made = made.crop((left, top, left + decoding.crop, top + decoding.crop))
    return made
