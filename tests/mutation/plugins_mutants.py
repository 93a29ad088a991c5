"""Mistakes in sweeps with launchers and sweepers of other packages."""

PLUGINS = "cli/test_plugins"

GROUPS = [
    (
        "cli/plugins.py", (PLUGINS,),
        [
            ("a missing plugin is left to Hydra", "and not _installed(needed[0])", "and _installed(needed[0]) is None"),
            ("what is typed is lost", "for ours in OURS.get(word, ())), *words]", "for ours in OURS.get(word, ()))]"),
            ("the worst is looked for", 'rpartition(".")[2] != "maximize"', 'rpartition(".")[2] == ""'),
        ],
    ),
    (
        "cli/job.py", (PLUGINS,),
        [("a loss is maximized", "is max else -found.after", "is max else found.after")],
    ),
    (
        "cli/sweep.py", (PLUGINS,),
        [
            ("lost jobs are no failure", "Exit.SWEEP if failed or lost else", "Exit.SWEEP if failed else"),
            ("a job without a record is an error", "for path in found if path.is_file()]", "for path in found]"),
        ],
    ),
    (
        "cli/sweep_progress.py", (PLUGINS,),
        [("jobs are counted in each process", 'number = f"{job + 1}"', 'number = f"{self.jobs + 1}"')],
    ),
]  # fmt: skip
