"""Mistakes in what is checked before a run, and in what Hydra is given."""

PREFLIGHT, SOURCES, DATA, GUARD, WORDS, DRY = (
    "commands/test_preflight", "rewards/test_sources", "data/test_sources", "cli/test_hydra_guard",
    "cli/test_hydra_words", "cli/test_dry_run",
)  # fmt: skip

GROUPS = [
    (
        "commands/preflight.py", (PREFLIGHT,),
        [
            ("files are not checked where a setting is wrong", ", *faults(_sound_groups(schema, settings))]", "]"),
            ("the gravest fault is the last", "min(each.code for each in found)", "max(each.code for each in found)"),
            ("the context is not asked for", "if context is not None:", "if context is None:"),
            ("a part of a file is taken for all columns", "read if whole and not found else None", "read"),
        ],
    ),
    (
        "rewards/sources.py", (SOURCES,),
        [
            ("a decorated function is taken as it is", "or found[0].decorator_list ", ""),
            ("a function that is defined twice is taken as it is",
             "len(found) != 1 or found[0].decorator_list or _bound(tree).count(function) != 1",
             "found[0].decorator_list"),
            ("a default is an argument that must be given", "each.arg: default is None for", "each.arg: True for"),
            ("a star import brings no names", 'or "*" in names ', ""),
        ],
    ),
    (
        "data/records.py", (DATA,),
        [
            ("a record that is cut off is read", "found[:-1] if part else found", "found"),
        ],
    ),
    (
        "cli/hydra_guard.py", (GUARD,),
        [
            ("a key of Hydra's that is not named is free", 'or "Hydra fills it in, or rlnlp has no use for it"', ""),
            ("the package of a file is not minded", "in _leaves(content, package):", "in _leaves(content, ()):"),
            ("maps from elsewhere are not minded", "for key in _taken_from_elsewhere(config):", "for key in ():"),
            ("a package is imported for its files", 'if str(place).startswith("pkg:"):', "if not place:"),
            ("what may be chosen in a defaults list is not minded", "defaults if isinstance(defaults, list) else []:",
             "[]:"),
        ],
    ),
    (
        "cli/hydra_words.py", (WORDS,),
        [
            ("a quote in a value ends it", 'quote[1] * 2 + r"\\\'"', "quote[0]"),
            ("a sweep over paths is one path", 'value.split(",") if sweep else [value]', "[value]"),
            ("a home is not found", 'value.startswith("~")', 'value.startswith("~/nowhere")'),
        ],
    ),
    (
        "config/choices.py", (WORDS,),
        [
            ("a comment is cut off a path", 'and " #" not in text', ""),
        ],
    ),
    (
        "cli/jobs.py", (PREFLIGHT,),
        [
            ("a sweep begins whatever is wrong with a job", "    if faults:\n", "    if False:\n"),
        ],
    ),
    (
        "cli/composition.py", (GUARD, DRY),
        [
            ("each job has a sweep directory of its own",
             'assert self.directory.name, "resolved here', 'assert self.name, "resolved here'),
            ("a job's own files are not looked at", "            check_composed(config, job.files())\n", ""),
        ],
    ),
]  # fmt: skip
