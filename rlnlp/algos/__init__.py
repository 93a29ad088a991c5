"""The algorithms: each ``train(...)`` reads like its paper, each ``main(config, run)`` puts the parts together."""
