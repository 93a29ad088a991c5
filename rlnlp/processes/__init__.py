"""Several processes that train one model: how they are started, what each does, and how they end together."""
