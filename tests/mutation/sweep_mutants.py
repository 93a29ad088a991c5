"""Mistakes in the table of a sweep, in what it shows while it runs, in its resumption, and in the Python interface."""

TABLE, API = "cli/test_sweep_table", "test_api"
NAMED = "cli/test_sweep::test_code_that_a_sweep_names_is_named_again_and_its_settings_stay"

GROUPS = [
    (
        "cli/sweep_table.py", (TABLE,),
        [
            ("different rewards are compared", 'in ("reward", "data", "heldout")', 'in ("data", "heldout")'),
            ("different prompts are compared", 'in ("reward", "data", "heldout")', 'in ("reward",)'),
            ("the best before training", "key=lambda pair: pair[1].after", "key=lambda pair: pair[1].before"),
            ("short names that are alike", "end if ends.count(end) == 1 else key", "end if ends else key"),
            ("settings are markup", "(*map(as_text, [*cells, _figure(job", "(*map(str, [*cells, _figure(job"),
        ],
    ),
    (
        "evaluate/outcome.py", (TABLE,),
        [("the highest loss is the best", '"loss": min', '"loss": max')],
    ),
    (
        "cli/sweep_progress.py", (TABLE,),
        [
            ("complete jobs take time", "self.seconds += [] if before else [seconds]", "self.seconds += [seconds]"),
            ("the time left of all jobs", "(self.total or 0) - self.jobs if", "(self.total or 0) if"),
        ],
    ),
    (
        "cli/hydra_app.py", (NAMED,),
        [("a sweep's code is not named again", "for each in [] if named is None else jobs or []:", "for each in []:")],
    ),
    (
        "cli/resume.py", (NAMED,),
        [("a sweep's settings change on resume", "and not (known and known[\"code\"])", "and not known")],
    ),
    (
        "rollout/generate.py", (API,),
        [
            ("each call draws others", 'rng = stream(self._seed if seed is None else seed, "generate")',
             'rng = stream(len(given) if seed is None else seed, "generate")'),
            ("no responses are asked for", "if n < 1:", "if n < 0:"),
        ],
    ),
    (
        "api.py", (API,),
        [
            ("flags are settings", 'if "=" not in word or word.startswith("-"):', 'if "=" not in word:'),
            ("another directory", "folder = folder if directory is None else", "folder = folder if True else"),
            ("seconds since the process began", "from_environment(composed), started)", "from_environment(composed))"),
        ],
    ),
]  # fmt: skip
