"""A run: its directory, checkpoints, lines of figures, signals, and how it ends."""
