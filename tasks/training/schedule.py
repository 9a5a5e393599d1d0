"""Learning rates: what an epoch's rate is, and what of the validation loss has to be remembered for it."""

import math

from tasks.training.checkpoint import Memory


def watch_loss(memory: Memory, loss: float | None, patience: int, factor: float) -> None:
    """Count the epochs in which the validation loss has not fallen, and lower the rate of a plateau."""
    if loss is None:
        return
    if loss < memory.best_loss:
        memory.best_loss, memory.waited, memory.slowed = loss, 0, 0
        return
    memory.waited += 1
    memory.slowed += 1
    if memory.slowed >= patience:
        memory.rate, memory.slowed = memory.rate * factor, 0


def factor_at(schedule: str, epoch: int, t_max: int, milestones: list[int], factor: float, memory: Memory) -> float:
    """What the learning rate is multiplied by at an epoch."""
    match schedule:
        case "cosine":
            return (1 + math.cos(math.pi * (epoch - 1) / t_max)) / 2
        case "step":
            return factor ** sum(epoch > milestone for milestone in milestones)
        case "plateau":
            return memory.rate
    return 1.0
