"""What the learning rate is: of each epoch, from the history before it. Knows nothing of optimizers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tasks.training.history import History, falls

Name: TypeAlias = Literal["none", "cosine", "step", "plateau"]
FACTORS = {"step": 0.1, "plateau": 0.5}
"""What the schedules that have a factor multiply by, unless another is given."""


@dataclass(frozen=True)
class Schedule:
    """The learning rate `lr`, times what a schedule makes of it; "none" leaves it.

    `cosine` falls from 1 to 0 in `t_max` epochs. `step` multiplies by `factor` after each of the epochs in
    `milestones`. `plateau` multiplies by it whenever the watched loss has not fallen for `patience` epochs.
    """

    name: Name
    lr: float
    t_max: int = 1
    milestones: Sequence[int] = ()
    factor: float | None = None
    patience: int = 5

    def rate(self, history: History) -> float:
        """The learning rate of the epoch after those of the history."""
        return self.lr * self._share(history)

    def _share(self, history: History) -> float:
        done = len(history)
        match self.name:
            case "cosine":
                return (1 + math.cos(math.pi * done / self.t_max)) / 2
            case "step":
                return self._factor ** sum(done >= milestone for milestone in self.milestones)
            case "plateau":
                return self._lowered(history)
        return 1.0

    def _lowered(self, history: History) -> float:
        share, waited = 1.0, 0
        for has_fallen in falls(history):
            waited = 0 if has_fallen else waited + 1
            if waited == self.patience:
                share, waited = share * self._factor, 0
        return share

    @property
    def _factor(self) -> float:
        return FACTORS[self.name] if self.factor is None else self.factor
