"""Mistakes in what a check finds before a run, and in responses side by side."""

CHECK, DRAWN, GENERATE, MESSAGES = (
    "commands/test_check", "rollout/test_drawn", "commands/test_generate", "data/test_messages",
)  # fmt: skip

GROUPS = [
    (
        "commands/check/rewards.py", (CHECK,),
        [
            ("a term dominates by its value", "added = term.weight * shapings", "added = shapings"),
            ("a term that abstains from all is silent", "        if not len(said):\n", "        if len(said) < 0:\n"),
            ("one response that ends is none", "if bool(ended.any()):", "if bool(ended.all()):"),
            ("rounding is a difference", "apart <= ROUNDING *", "apart < 0 * ROUNDING *"),
        ],
    ),
    (
        "commands/check/findings.py", (CHECK,),
        [
            ("a warning ends the command", 'if each.severity == "error"), Exit.DONE)', "if True), Exit.DONE)"),
            ("what to do is lost", "*what, fix = lines if len(lines) > 1", "*what, fix = lines if len(lines) > 9"),
        ],
    ),
    (
        "commands/check/costs.py", (CHECK,),
        [
            ("a disk that is too small is sound", "    if need.total > free:\n", "    if need.total < free:\n"),
            ("the first trial counts", "    tried: list[float] = []\n", "    tried: list[float] = [first]\n"),
        ],
    ),
    (
        "rollout/drawn.py", (DRAWN,),
        [
            ("the end's probability is without filters",
             "draw_logits(logits, position, distribution)", "draw_logits(logits, position, unfiltered)"),
            ("the log-probabilities are with filters",
             "position, unfiltered).log_softmax", "position, distribution).log_softmax"),
        ],
    ),
    (
        "data/prompts.py", (MESSAGES,),
        [
            ("the system's turn is cut", '[*system, *turns[i:]]', "turns[i:]"),
            ("a conversation begins with the assistant", 'if turns[i]["role"] == "user":', "if True:"),
        ],
    ),
    (
        "commands/answers.py", (GENERATE,),
        [
            ("the worst comes first", '-record["score"] if "score"', 'record["score"] if "score"'),
            ("the trained policy says what is coherent",
             "        if run is not None:\n            config", "        if run is None:\n            config"),
        ],
    ),
    (
        "commands/side_by_side.py", (GENERATE,),
        [("a name may be another's", "all(other[-n:] != part[-n:] for other in others)", "True")],
    ),
]  # fmt: skip
