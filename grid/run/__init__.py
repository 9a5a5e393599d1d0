"""From a plan to an outcome: the loop, the executors it may use, and how a person is told."""
