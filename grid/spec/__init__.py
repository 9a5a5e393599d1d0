"""YAML -> GridSpec: everything that judges what a user wrote. Knows nothing of stores, workers or results."""
