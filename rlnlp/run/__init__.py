"""A run: its directory, checkpoints, metrics, signals, and how it ends."""
