"""Classifiers that show what an attack does with them: what it asks, and where it should not have got an answer."""

import torch
from torch import Tensor

from tasks.contracts.toys import Capped, Toy, conv_net, linear
from tasks.types import Images, Scores


class Low(Capped):
    """Flat above 0.1, so that there are images without a gradient."""

    def __init__(self) -> None:
        super().__init__(0.1)


class Watched(Toy):
    """Knows how many images it was asked about, and whether by somebody who wants a gradient."""

    def __init__(self) -> None:
        toy = conv_net()
        super().__init__(toy.body, 0.3, 0.4)
        self.double()
        self.rows = 0
        self.differentiated = False

    def forward(self, images: Images) -> Scores:
        """(batch, 4)."""
        self.rows += len(images)
        scores = super().forward(images)
        if scores.requires_grad:
            scores.register_hook(self._note)  # type: ignore[no-untyped-call]
        return scores

    def _note(self, _: Tensor) -> None:
        self.differentiated = True


class Bent(Watched):
    """Predicts the same from scores that are in the same order but otherwise different."""

    def forward(self, images: Images) -> Scores:
        """(batch, 4)."""
        scores = super().forward(images)
        return scores**3 + scores


class Fragile(Toy):
    """Scores are NaN anywhere but on the images it knows."""

    def __init__(self, known: Images) -> None:
        super().__init__(linear(3).body)
        self.known = known
        self.double()

    def forward(self, images: Images) -> Scores:
        """(batch, 3)."""
        near = (images[:, None] - self.known).abs().flatten(2).amax(2).amin(1) == 0
        return torch.where(near[:, None], super().forward(images), torch.nan)
