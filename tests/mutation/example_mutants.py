"""Known mistakes in what the examples of RLHF show: terms before and after, and a reward model as a moderator."""

ABOVE, QUALITIES, BY = "maths/test_probability_above", "evaluate/test_rounds_qualities", "commands/test_rank_by"

GROUPS = [  # file, tests, (name, what stands there, what is put there)
    ("maths/probability_above.py", (ABOVE,), [
        ("equal numbers are a win", 'for side in ("left", "right"))', 'for side in ("right", "right"))'),
        ("the interval is Hanley and McNeil's at the estimate", "math.sqrt(_variance(p, m, n))",
         "math.sqrt(_variance(value, m, n))"),
        ("the interval is that of one sample", "(m * n)\n", "(m * m)\n"),
        ("the lower end is as far as the upper one", "1 - _upper_end(1 - value, len(x), len(y))",
         "2 * value - _upper_end(value, len(x), len(y))"),
    ]),
    ("algos/rounds/record.py", (QUALITIES,), [
        ("an abstaining term says 0", "np.where(count > 0, count, np.nan)", "values.shape[1]"),
        ("a silent prompt counts as known", "of_prompt[~np.isnan(of_prompt), None]",
         "np.nan_to_num(of_prompt)[:, None]"),
        ("gains are those of the first policy", '"reward": rewards - of_first', '"reward": of_first - rewards'),
    ]),
    ("algos/rounds/draws.py", (QUALITIES,), [
        ("a term is known where it abstains", "masked_fill(~scores.given[name]", "masked_fill(scores.given[name]"),
    ]),
    ("evaluate/rounds/qualities.py", (QUALITIES,), [
        ("before and after are exchanged", "Compared(label, sides[0], sides[1]", "Compared(label, sides[1], sides[0]"),
        ("only what is rated is drawn", "if not figures:", "if len(figures) < 3:"),
    ]),
    ("commands/rank_by.py", (BY,), [
        ("the others are asked about", "probability_above(own, of_label)", "probability_above(of_label, own)"),
        ("the untrained head is the trained one's opposite", "_by_kind(before, labels, value)",
         "_by_kind([-each for each in before], labels, value)"),
    ]),
]  # fmt: skip
