"""Mistakes in the settings of algorithms with stages: whose they are, what is told of them, how they are counted."""

HINTS, PARSE, MEASURING = "config/test_hints", "config/test_parse", "config/test_measuring"
DESCRIPTION, RATES, CHOSEN = "config/test_description", "config/test_rates", "cli/test_chosen_words"
RESUMED, FAULTS, RUNS = "commands/test_resume_rounds", "commands/test_preflight_rounds", "commands/test_runs"

GROUPS = [
    (
        "config/setting.py", (HINTS,),
        [("a stage has the settings of its other algorithm", "for key, _, _ in settings(kind, f\"{group}.\") if key not"
          " in keys)", "for key, _, _ in settings(kind, f\"{group}.\") if False)")],
    ),
    (
        "config/hints.py", (HINTS,),
        [("another stage's setting is advised too", "if group and one.key.startswith(group)] or found", "] or found")],
    ),
    (
        "config/parse.py", (PARSE,),
        [("a stage's fault names keys of algo", "return OF_ALGO.sub(prefix, text)", "return text")],
    ),
    (
        "config/measuring.py", (MEASURING,),
        [("a round costs what its policy costs", "algo.rounds * algo.round_cost",
          "algo.rounds * algo.policy.relative_cost * algo.policy.responses * algo.policy.total_steps"),
         ("later rounds are measured as often", "every if round == 1 else LATER * every", "every")],
    ),
    (
        "config/description.py", (DESCRIPTION,),
        [("no checkpoint before the first step", "*range(0, algo.total_steps + 1, algo.round_steps)",
          "*range(algo.round_steps, algo.total_steps + 1, algo.round_steps)")],
    ),
    (
        "config/rounds_text.py", (DESCRIPTION,),
        [
            ("ratings before the first round are not asked", "(algo.rounds + 1) * annotator.ratings",
             "algo.rounds * annotator.ratings"),
            ("random walks are the embedded language", "embedded(/(?!randomwalks|opinions).*)?", "embedded(/.*)?"),
        ],
    ),
    (
        "config/rates.py", (RATES,),
        [("both stages have the policy's size", '"reward_model": reward_model}', '"reward_model": policy}')],
    ),
    (
        "cli/chosen_words.py", (CHOSEN,),
        [("a run of another algorithm is composed", "if algo is None or RUNS.get(algo) is schema:", "if True:")],
    ),
    (
        "config/changes.py", (RESUMED,),
        [("a round that was begun is not counted", "-(-done // round_steps)", "done // round_steps")],
    ),
    (
        "commands/preflight_rounds.py", (FAULTS,),
        [("held-out prompts are trained on", "(0 if others else heldout_part(len(distinct), size))", "0")],
    ),
    (
        "evaluate/stored.py", (RUNS,),
        [("a round is counted when it is over", "-(-self.steps // self", "(self.steps // self")],
    ),
]  # fmt: skip
