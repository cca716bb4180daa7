"""Training: one loop for every method, its checkpoints, logs and devices."""
