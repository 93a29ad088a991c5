"""Known mistakes in what a run prints and writes for people."""

OPENING, LIVE, REPORT, METRICS = (
    "algos/test_opening", "run/test_live", "evaluate/test_report", "test_metrics",
)  # fmt: skip
DESCRIPTION = "config/test_description"

GROUPS = [  # file, tests, (name, what stands there, what is put there)
    ("algos/reinforce.py", (OPENING,), [
        ("the trial of REINFORCE leaves its gradient", "    setup.policy.zero_grad(set_to_none=True)\n", ""),
    ]),
    ("algos/sft.py", (OPENING,), [
        ("the trial of sft leaves its gradient", "    policy.zero_grad(set_to_none=True)\n", ""),
    ]),
    ("algos/opening.py", (OPENING,), [
        ("the checkpoint that is being written takes no disk", "(kept + staged) * one", "kept * one"),
        ("a resumed run needs the time of a whole one", "config.algo.total_steps - done", "config.algo.total_steps"),
    ]),
    ("config/description.py", (DESCRIPTION,), [
        ("a term that is subtracted is added", '"-" if term.weight < 0 else "+"', '"+"'),
        ("a veto is only logged", "if term.floor is not None:", "if False:"),
        ("the last checkpoint is not counted", "return len({algo.total_steps, *due", "return len({*due"),
    ]),
    ("metrics.py", (METRICS, LIVE), [
        ("the change is that of single steps", "width = max(1, min(10, len(values) // 4))", "width = 1"),
        ("nothing is smoothed", "reach = min(10, len(values) // 20)", "reach = 0"),
    ]),
    ("run/live.py", (LIVE,), [
        ("a table is drawn into a file", "drawn = sys.stderr.isatty() and", "drawn = console.is_terminal and"),
        ("a resumed run forgets where it started", "        for row in rows:\n            self._add(row)\n", ""),
        ("the table is taller than the terminal", "room = height - 5", "room = height - 2"),
        ("a term's name is markup", 'Text(f"{indent}{one_line(label(name), LABEL - len(indent + taken))}{taken}")',
         'f"{indent}{one_line(label(name), LABEL - len(indent + taken))}{taken}"'),
        ("only the last steps have a curve", "sum(values[a:b]) / (b - a) for a, b in pairwise(ends)",
         "value for value in values[-count:]"),
    ]),
    ("evaluate/summary.py", (REPORT,), [
        ("what a model wrote is markup", 'MARKUP.sub(r"\\\\\\g<0>", one_line(text, len(text) * 10))',
         "one_line(text, len(text) * 10)"),
        ("a fence can be ended from inside", "max(3, longest + 1)", "3"),
    ]),
    ("evaluate/report.py", (REPORT,), [
        ("a pipe is wrapped", "line.indent > 0 and console.file.isatty()", "line.indent > 0"),
        ("weighted terms are dashed", "if term.weight == 0", "if term.weight"),
    ]),
    ("evaluate/curves.py", (REPORT,), [
        ("a dollar in a name is mathematics", "text.set_parse_math(False)", "pass"),
        ("the held-out figures are only those in between", "if name in ends:", "if False:"),
    ]),
]  # fmt: skip
