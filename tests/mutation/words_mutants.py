"""Mistakes in what is told of wrong words, in help and in completion."""

HINTS, WORDS, OTHERS = "config/test_hints", "cli/test_words", "commands/test_words"
HELP, COMPLETION = "cli/test_help", "cli/test_completion"

GROUPS = [
    (
        "config/hints.py", (HINTS,),
        [
            ("a value is repeated where it means another count", "alike=same[0] == 0", "alike=True"),
            ("a value is repeated that is no choice", " or value in get_args(f.type)", " or True"),
            ("a name is searched as typed", '.replace("-", "_").lower()', '.replace("-", "_")'),
            ("the last part alone is not enough", "        or _beside(text, _common(last, keys))\n", ""),
            ("quotes end early", 'return f"\'{text}\'" if shown == text else shown', "return f\"'{text}'\""),
        ],
    ),
    (
        "cli/words.py", (WORDS,),
        [
            (
                "a flag's value is a setting", "value = rest.pop(0)\n            faults.",
                "value = after\n            faults.",
            ),
            ("a short form takes any algorithm", '== "algo" and fixed and', '== "algo" and not fixed and'),
            ("one value with commas is a sweep", ".is_sweep_override()", ".is_sweep_override() and False"),
        ],
    ),
    (
        "commands/words.py", (OTHERS,),
        [("a slip of a setting is a prompt", "and resembles(key, schema)", "and key in schema.__annotations__")],
    ),
    (
        "cli/help.py", (HELP,),
        [
            ("another choice is marked", '.partition(" ")[0] == chosen', '.partition(" ")[0] != chosen'),
            ("control characters reach the terminal", "safe_text(content), column", "content, column"),
        ],
    ),
    (
        "cli/completion.py", (COMPLETION,),
        [
            ("swept values are lost", "{head}{comma}{one.text}", "{one.text}"),
        ],
    ),
    (
        "cli/candidates.py", (COMPLETION,),
        [("hidden files are listed", 'or not path.name.startswith(".")', "or True")],
    ),
    (
        "cli/shells.py", (COMPLETION,),
        [
            ("names are not escaped", r'r"\\\1", text)', 'r"\\1", text)'),
            ("the whole word is inserted again", "[cut:] for line", "[0:] for line"),
        ],
    ),
]  # fmt: skip
