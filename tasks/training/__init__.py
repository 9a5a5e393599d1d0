"""The parts that a training is made of: batches, the objective, one update, rates, states that can be resumed."""
