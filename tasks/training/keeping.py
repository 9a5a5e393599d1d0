"""Which weights a training leaves in its model: the last, or those of the epoch that was best at something.

Knows nothing of what was measured on, nor of files.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from tasks.training.history import History


class Keeping:
    """Keeps a copy of the weights of the best epoch so far: the first with the highest value.

    `decided_by` gives the value of every epoch of a history; None keeps nothing, and leaves the last.
    `best` has the copies, by name. A training that is resumed puts there what was kept before.
    """

    def __init__(self, decided_by: Callable[[History], Sequence[float]] | None) -> None:
        self._values_of = decided_by
        self.best: dict[str, Tensor] = {}

    def look(self, model: nn.Module, history: History) -> None:
        """Copy the weights if the last epoch of the history is better than all before it."""
        if self._values_of is None:
            return
        *earlier, latest = self._values_of(history)
        if all(latest > value for value in earlier):
            self.best = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def restore(self, model: nn.Module) -> None:
        """Give the model the weights that are kept, if any are."""
        if self.best:
            model.load_state_dict(self.best)
