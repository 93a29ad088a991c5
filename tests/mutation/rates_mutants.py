"""Mistakes in the learning rates that the settings leave open."""

RATES, MIGRATE = "config/test_rates", "config/test_migrate"

GROUPS = [
    (
        "config/rates.py", (RATES,),
        [
            ("a rate falls with the size and not with its logarithm",
             "math.log(max(parameters, 1) / SMALL) / math.log(LARGE / SMALL)",
             "(parameters - SMALL) / (LARGE - SMALL)"),
            ("beyond the largest size the rate falls on", "math.log(LARGE / SMALL), 0.0), 1.0)",
             "math.log(LARGE / SMALL), 0.0), 9.0)"),
            ("a rate that is given is decided anew", "if vars(algo)[name] is None]", "]"),
            ("rounds fit a reward model at the rate of a run of its own",
             "OF_ROUNDS if isinstance(algo, RewardModelStage) else RATES", "RATES"),
            ("a resumed run decides anew", "rate if isinstance(rate, float) else usual", "usual"),
            ("the critic has the policy's rate by size", "CRITIC if of_critic else own", "own"),
        ],
    ),
    (
        "run/run.py", (RATES,),
        [("config.yaml holds the decision", "self.config = config\n        self._record(decided",
          "self.config = self.asked = config\n        self._record(decided")],
    ),
    (
        "config/migrate.py", (MIGRATE,),
        [("a rate of 0 is none", "if found.get(name, 0) is None}", "if not found.get(name, 0)}")],
    ),
]  # fmt: skip
