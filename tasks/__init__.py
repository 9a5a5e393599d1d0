"""What runs inside a task: datasets, models, training, attacks and the judge. Knows nothing of Ray, SQL or stores."""
