"""What every dataset can be asked beside its own parameters: the keyword-only ones of `mixed`.

`tasks.registry` reads its signature, as it does those of components. Knows nothing of training.
"""

from collections.abc import Iterator
from dataclasses import replace

from tasks.data import outside
from tasks.datasets._generated import read_generated
from tasks.datasets._inside import inside
from tasks.parameters import Share
from tasks.refusals import refuse
from tasks.registry import every
from tasks.types import DataError, DataRoot, Mix, Split


@every("dataset")
def mixed(split: Split, root: DataRoot, *, generated: str | None = None, share: Share = 0.0) -> Split:
    """A training split to which generated images belong; any other as it is.

    `generated` is an `.npz` file under the data root, with `image` (count, height, width, channels) in bytes and
    `label` (count,), as Wang et al. (2023, https://arxiv.org/abs/2302.04638) publish the samples of their diffusion
    models. Of each epoch's images, whose number stays that of the split, a `share` is drawn from them. Raises
    DataError.
    """
    refuse(DataError, refuses(generated=generated, share=share))
    if generated is None:
        return split
    images, labels = read_generated(inside(root.path, generated), split.shape, split.num_classes)
    return replace(split, mix=Mix(images, labels, share))


def refuses(*, generated: str | None, share: float) -> Iterator[str]:
    """A share of nothing, and a file that is not the data root's."""
    if share and generated is None:
        yield "share: says how much of each epoch is generated, but `generated` names no file"
    yield from outside(generated)
