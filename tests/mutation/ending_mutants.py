"""Mistakes in how a command ends: what a message tells to type, what a refused resume leaves, signals, streams."""

WORDS, REFUSED, STREAMS = "cli/test_commands_to_copy", "commands/test_resume_refused", "cli/test_streams"

GROUPS = [
    (
        "errors.py", (WORDS,),
        [
            ("a shell reads words of its own", "else shlex.quote(text)", "else text"),
            ("a newline ends a command", "if not any(_moves(character) for character in text):", "if True:"),
            ("a directory is read as a flag", 'startswith(("-", "~"))', 'startswith("~")'),
        ],
    ),
    (
        "cli/streams.py", (STREAMS,),
        [
            ("a reader that goes away fails a run", "            self.error = error\n", "            raise\n"),
            ("it is not told that the reader has gone", "            return Exit.PIPE", "            return status"),
            ("lost results are no error", "        return Exit.STORAGE", "        return status"),
            ("a letter fails a command", '"backslashreplace"', '"strict"'),
            ("a file gets the number of standard output", "        os.open(os.devnull, os.O_RDWR)  #", "        #"),
            ("a slow reader loses bytes", "                    _wait_for(self.fileno())", "                    break"),
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
