"""``rlnlp check``: what would go wrong with a run, how long it takes and what it needs, before it is begun."""
