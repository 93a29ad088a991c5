"""Mistakes in how a command ends: what a message tells to type, what a refused resume leaves, signals, streams."""

WORDS, REFUSED, STREAMS = "cli/test_commands_to_copy", "commands/test_resume_refused", "cli/test_streams"
WAKE = "test_an_error_in_the_wake_of_an_interrupt_is_the_interrupts_doing"
HIDDEN = "test_an_error_that_code_raises_because_it_was_interrupted_does_not_take_the_place_of_the_signal"
SAYS = "run/test_handlers::test_a_command_that_is_interrupted_says_so_and_no_more"

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
        "errors.py", (f"run/test_ending::{WAKE}",),
        [
            ("what is said of an interrupt is its wake", "if each.__cause__ is None and isinstance", "if isinstance"),
            ("only the last error is looked at", "each = each.__cause__ or each.__context__", "break"),
        ],
    ),
    (
        "run/run.py", (f"run/test_signals::{HIDDEN}",),
        [("an error hides the signal that it came of", "(error := ended_by(error))", "(error)")],
    ),
    (
        "run/handlers.py", (SAYS,),
        [
            ("an interrupt in a destructor is dropped", "            timers[-1].start()\n", "            pass\n"),
            ("an interrupt that is swallowed is forgotten", "        _noticed.append(number)\n", ""),
            ("an interrupt is remembered for ever", "        _noticed.clear()\n", "        pass\n"),
            ("a job's imports are interrupted", "pthread_sigmask(signal.SIG_BLOCK, NUMBERS)", "pthread_sigmask(0, [])",
             "run/test_handlers::test_a_job_that_is_interrupted_while_it_imports_says_so_and_no_more"),
        ],
    ),
    (
        "run/signals.py", (SAYS,),
        [
            ("a run begins after an interrupt", "        if was_interrupted():\n", "        if False:\n",
             "run/test_handlers::test_a_run_that_begins_after_an_interrupt_was_swallowed_does_not_begin"),
            ("a signal in a destructor is dropped", "        self._undropped.__enter__()\n", "",
             "run/test_signals::test_a_signal_that_python_drops_in_a_destructor_is_raised_again"),
        ],
    ),
    (
        "cli/exits.py", (SAYS,),
        [
            ("an interrupt is told as what it has broken", "    error = ended_by(error)\n", ""),
            ("what is said of an interrupt is lost", " and exit_code(error) not in SIGNALED else", " else",
             "run/test_handlers::test_what_is_said_of_an_interrupt_is_printed"),
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
