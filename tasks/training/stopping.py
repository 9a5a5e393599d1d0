"""When a training ends: after its epochs, or once its watched loss has not fallen for long enough."""

from dataclasses import dataclass

from tasks.training.history import History, falls


@dataclass(frozen=True)
class Stopping:
    """After `epochs`, or earlier: when the watched loss has not fallen for `patience` epochs (None: never)."""

    epochs: int
    patience: int | None = None

    def is_over(self, history: History) -> bool:
        """Whether no epoch comes after those of the history."""
        return len(history) >= self.epochs or (self.patience is not None and self._waited(history) >= self.patience)

    def _waited(self, history: History) -> int:
        waited = 0
        for has_fallen in falls(history):
            waited = 0 if has_fallen else waited + 1
        return waited
