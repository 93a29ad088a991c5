"""Did a run work: two sides on the same prompts, compared with intervals."""
