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
        "cli/streams.py", (f"{STREAMS}::test_a_command_that_cannot_print_ends_as_it_should_and_tells_of_no_bug",),
        [
            ("a reader that goes away fails a command", "            self.error = error\n", "            raise\n"),
            ("it is not told that the reader has gone", "            return Exit.PIPE", "            return status"),
            ("lost results are no error", "        return Exit.STORAGE", "        return status"),
            ("a letter fails a command", '"backslashreplace"', '"strict"',
             f"{STREAMS}::test_what_cannot_be_encoded_is_replaced"),
            ("a file gets the number of standard output", " os.open(os.devnull, os.O_RDWR)  #", " return  #",
             f"{STREAMS}::test_streams_that_were_closed_before_the_command_began_take_no_file_s_place"),
            ("a slow reader loses bytes", "                    _wait_for(self.fileno())", "                    break",
             f"{STREAMS}::test_a_reader_that_is_slow_gets_every_byte_though_the_stream_does_not_wait"),
        ],
    ),
    (
        "evaluate/report.py", (WORDS,),
        [("a part of a prompt is told", "text == one_line(text, TYPED) !=", "one_line(text, TYPED) !=")],
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
