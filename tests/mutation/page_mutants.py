"""Mistakes in the report of an evaluation: its words, its figures, its safety."""

PAGE, FIGURES = "evaluate/test_page", "evaluate/test_page_figures"

GROUPS = [
    ("evaluate/page/content.py", (PAGE,), [
        ("a drop is told as a rise", 'where = "above" if main["difference"] > 0 else "below"', 'where = "above"'),
        ("an unclear result is told as a clear one", 'if word == "no difference shown":', "if False:"),
        ("the largest n that scores as high is named", 'sorted(rows, key=lambda row: row["n"]) if',
         'sorted(rows, key=lambda row: -row["n"]) if'),
    ]),
    ("evaluate/page/tables.py", (PAGE,), [
        ("the p of a term is not corrected", 'row["p_holm"] if row.get("p_holm") is not None else', ""),
        ("color where nothing is shown", "ends is not None and not ends[0] <= 0 <= ends[1]", "ends is not None"),
        ("a higher length is good", 'rows_of(record, "measures", 0, name)',
         'rows_of(record, "measures", 1, name)'),
        ("a lower loss is bad", '"loss": -1', '"loss": 1'),
        ("that a row is of fewer prompts is not said", 'if row.get("n", prompts) != prompts else', "if False else"),
        ("why a length-controlled rate is missing is not said", "row.get('length_controlled_reason') or", ""),
    ]),
    ("evaluate/page/parts.py", (PAGE,), [
        ("empty sections stand there", "return full if any(parts) else None", "return full"),
    ]),
    ("evaluate/page/numbers.py", (PAGE,), [
        ("an end of an interval is shown as -0.000", "while decimals < 5 and", "while False and"),
    ]),
    ("evaluate/page/html.py", (PAGE,), [
        ("texts are markup", "autoescape=True", "autoescape=False"),
        ("control characters stay", "return safe_text(value) if type(value) is str else value", "return value"),
    ]),
    ("evaluate/page/markdown.py", (PAGE,), [
        ("a command may hold control characters", "fenced(safe_text(section.code))", "fenced(section.code)"),
        ("the lines of a response run together", '"<br>".join(map(escaped, text.split("\\n")))', "escaped(text)"),
    ]),
    ("evaluate/page/figures.py", (FIGURES,), [
        ("the frontier is over the KL", 'x, y = [row["kl"] ** 0.5 for row in rows]',
         'x, y = [row["kl"] for row in rows]'),
        ("the interval of the KL has no root", "left, right = (max(0, end) ** 0.5 for",
         "left, right = (max(0, end) for"),
        ("before and after change places", "list(sides.values())[::-1],", "list(sides.values()),"),
        ("the curves are looked for beside the report", "os.path.relpath(curves, directory)", "curves.name"),
    ]),
    ("evaluate/page/drawing.py", (FIGURES,), [
        ("the lowest difference stands on top", "[axis_name(name) for name, _, _ in reversed(rows)]",
         "[axis_name(name) for name, _, _ in rows]"),
        ("a dollar starts a formula", '.replace("$", r"\\$")', ""),
    ]),
]  # fmt: skip
