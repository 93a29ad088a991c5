"""Mistakes in how a command ends: what a message tells to type, what a refused resume leaves, signals, streams."""

WORDS, REFUSED = "cli/test_commands_to_copy", "commands/test_resume_refused"

GROUPS = [
    (
        "errors.py", (WORDS,),
        [
            ("a shell reads words of its own", "return shlex.quote(text)", "return text"),
            ("a newline ends a command", "if not any(_moves(character) for character in text):", "if True:"),
            ("a directory is read as a flag", 'startswith(("-", "~"))', 'startswith("~")'),
        ],
    ),
    (
        "evaluate/report.py", (WORDS,),
        [("a part of a prompt is told", "p == one_line(p, TYPED) !=", "one_line(p, TYPED) !=")],
    ),
    (
        "run/run.py", (REFUSED,),
        [("a refused resume is recorded", "        if self._accepted:\n", "        if True:\n")],
    ),
    (
        "run/progress.py", (REFUSED,),
        [("files change before a refusal", " check_total_steps(total, state", " _ = (total, state")],
    ),
]  # fmt: skip
