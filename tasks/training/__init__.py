"""The parts that a training is made of.

Batches, objective, one update, the loop over epochs with its three decisions (rate, end, weights to keep), resuming.
"""
