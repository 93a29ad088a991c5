"""Mistakes in comparisons of runs, and in the list of runs."""

MEASURED, GROUPS_, SETTINGS, PAGES, PICTURES, DIFFERENCES = (
    "evaluate/test_compare_measured",
    "evaluate/test_compare_groups",
    "evaluate/test_compare_settings",
    "evaluate/test_compare_pages",
    "evaluate/test_compare_pictures",
    "maths/test_group_differences",
)
RUNS, LOCK = "commands/test_runs", "run/test_lock"

GROUPS = [
    (
        "maths/group_differences.py", (DIFFERENCES,),
        [
            ("pairs have one more degree of freedom", "_error(x - y), len(x) - 1,", "_error(x - y), len(x),"),
            ("a one-sided p-value", "2 * float(stdtr(", "float(stdtr("),
            ("the variances are taken to be equal", "(one + other) ** 2 / parts if parts else len", "len"),
        ],
    ),
    (
        "evaluate/compare/groups.py", (GROUPS_,),
        [
            ("groups of other seeds are paired", "found[i].seeds == found[j].seeds",
             "len(found[i].seeds) == len(found[i].seeds)"),
            ("p-values are not corrected", "corrected = holm([difference.p for *_, difference in tried])",
             "corrected = [difference.p for *_, difference in tried]"),
            ("of losses the higher is the better", "return int(METRICS[metric](range", "return int(max(range"),
            ("higher losses are improvements", "sign = 1.0 if METRICS[metric] is max else -1.0", "sign = 1.0"),
            ("runs of one seed are paired", "if len(group.runs) > 1]", "]"),
        ],
    ),
    (
        "evaluate/compare/groups.py", (SETTINGS,),
        [("the same draws twice are two seeds", "        if key in newest:", "        if False:")],
    ),
    (
        "evaluate/compare/settings.py", (SETTINGS,),
        [
            ("each algorithm's defaults differ", "return bool(asked) and len(", "return len("),
            ("when to measure never matters", "return WITHOUT_EFFECT if chooses else (", "return ("),
            ("the seed parts groups", "left_out = {SEED, *without", "left_out = {*without"),
        ],
    ),
    (
        "evaluate/compare/measured.py", (MEASURED,),
        [
            ("a term that is logged is a part of the measure", 'if term.get("weight") or term', "if True or term"),
            ("a veto is no part of the measure", ' or term.get("floor") is not None}', "}"),
            ("seeds that hold out other prompts measure other things", "return [own if own in drawn or not data else",
             "return [own if not data else"),
            ("other prompts of one seed are the same", "if all(len(each) == 1 for each in seeds.values()) and", "if"),
        ],
    ),
    (
        "evaluate/compare/sheets.py", (PAGES,),
        [
            ("a spreadsheet computes", 'return f"\'{text}" if text.startswith(FORMULA) else text', "return text"),
            ("a number below zero becomes a text", "isinstance(cell, int | float) and not isinstance(cell, bool)",
             "isinstance(cell, int)"),
        ],
    ),
    (
        "evaluate/compare/comparison.py", (PAGES,),
        [("unfinished runs count", "if run.outcome is not None and run.status == DONE]", "if run.outcome]")],
    ),
    (
        "evaluate/compare/pictures.py", (PICTURES,),
        [
            ("the frontier's KL is not its root", "return np.sqrt(np.maximum(found[:, :, 0].mean(0), 0))",
             "return (np.maximum(found[:, :, 0].mean(0), 0))"),
            ("a mean over the seeds that are left", "set(series[0]).intersection(*series[1:])",
             "set(series[0])"),
            ("a band of standard errors", "float(stdtrit(n - 1, 0.975)) * values", "values"),
        ],
    ),
    (
        "evaluate/stored.py", (RUNS,),
        [
            ("a run whose process died is running", "return INTERRUPTED if status == RUNNING else status",
             "return status"),
            ("a run that is trained is interrupted", "    if is_owned(directory):\n        return RUNNING\n", ""),
        ],
    ),
    (
        "run/lock.py", (LOCK,),
        [
            ("whoever looks at a lock takes it", "fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)",
             "fcntl.flock(os.dup(handle), fcntl.LOCK_EX | fcntl.LOCK_NB)"),
            ("a lock that is looked at is refused", "for wait in (*WAITS, None):", "for wait in (None,):"),
        ],
    ),
    (
        "run/find.py", (RUNS,),
        [
            ("links lead in circles", "if (status.st_dev, status.st_ino) in seen:", "if False:"),
            ("a run that begins is broken", " and not is_owned(directory):", ":"),
        ],
    ),
]  # fmt: skip
