"""Mistakes in the report of a reward model: claims that its figures do not bear, and figures of something else."""

RECORD, PAGE, AGAIN = (
    f"evaluate/{name}" for name in ("test_preference_record", "test_preference_page", "test_preferences_again")
)

GROUPS = [
    ("evaluate/preferences/heldout.py", (RECORD,), [
        ("labelled ties are pairs", "if pair.target != TIE]", "]"),
        ("an interval of one prompt", "if units > 1 and np.isfinite(interval).all() else None", ""),
    ]),
    ("evaluate/preferences/baselines.py", (RECORD,), [
        ("a rule that is as good is beaten", "if gain <= 0:", "if gain < 0:"),
        ("what may be chance is a gain", "ends is not None and ends[0] > 0 and", ""),
        ("a gain is shown by five prompts", "and smallest_p_value(units) < LEVEL", ""),
        ("the longer one wins wherever", "side = -1.0 if sum(grown) < 0 else 1.0", "side = 1.0"),
        ("the label is a baseline", "0.0 if by_form or not places", "0.0 if not places"),
    ]),
    ("evaluate/preferences/calibrated.py", (RECORD,), [
        ("a temperature is told on what it is fitted to", "pairs.differences[fold != i], fold == i",
         "pairs.differences, fold == i"),
        ("the pairs of a prompt are in several folds", "min(FOLDS, len(distinct)))[of_pair]",
         "min(FOLDS, len(distinct)))[rng.permutation(of_pair)]"),
    ]),
    ("evaluate/preferences/curve.py", (RECORD,), [
        ("the line is over prompts, not doublings", "doublings = np.log2(sizes)", "doublings = sizes"),
        ("four times the labels", "doublings.max() + 1 -", "doublings.max() + 2 -"),
        ("a curve that flattens promises more", "if bend is not None and bend[1] < 0:", "if False:"),
        ("the model itself is no point", "[(*trained, pairs.differences)]", "[]"),
    ]),
    ("evaluate/preferences/annotators.py", (RECORD,), [
        ("an annotator agrees with himself", "sum(n * (n - 1) for n in Counter(votes.values()).values()) / (count *",
         "sum(n * n for n in Counter(votes.values()).values()) / (count *"),
        ("annotators of training are new", "rows[i].annotator not in seen for i", "True for i"),
    ]),
    ("evaluate/preferences/verdict.py", (RECORD,), [
        ("a doubt is a yes", "False if False in said else None if None in said or not said else True",
         "False if False in said else True"),
        ("a verdict on training pairs", 'if not record["separate"]:', "if False:"),
    ]),
    ("evaluate/preferences/words.py", (PAGE,), [
        ("training pairs are called held out", '"held-out pairs" if record["separate"] else "training pairs"',
         '"held-out pairs"'),
    ]),
    ("evaluate/preferences/sentences.py", (PAGE,), [
        ("too sure is not sure enough", '"it is too sure" if surplus > 0 else', '"it is too sure" if surplus < 0 else'),
    ]),
    ("evaluate/preferences/again.py", (AGAIN,), [
        ("the curve of other pairs", "keep_fits(record, found if same_data else {})", "keep_fits(record, found)"),
        ("a kept curve is missing too", 'del missing["learning_curve"]', "pass"),
    ]),
    ("evaluate/outcome.py", ("cli/test_sweep_table",), [
        ("the lowest accuracy is the best", '"accuracy": max', '"accuracy": min'),
    ]),
    ("evaluate/compare/measured.py", ("evaluate/test_compare_measured",), [
        ("other answers are the same measure", 'names = ("completion", "responses", "pairs")',
         'names = ("completion",)'),
    ]),
]  # fmt: skip
