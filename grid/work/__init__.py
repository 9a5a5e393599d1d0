"""What a worker does with a task: load, compute, commit. Knows nothing of Ray or of the run around it."""
