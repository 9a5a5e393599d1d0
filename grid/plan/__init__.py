"""What a grid asks for, and what of it is missing: frozen data made by pure functions. Knows nothing of YAML or Ray."""
