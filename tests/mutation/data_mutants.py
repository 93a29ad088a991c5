"""Mistakes in how data files are read, and in what becomes of rows that do not fit."""

CORPUS, SOURCES, FITTING = "data/test_corpus", "data/test_sources", "data/test_fitting"

GROUPS = [
    (
        "data/encodings.py", (CORPUS,),
        [
            ("UTF-8 is read as one byte a character", "_is_single_byte(encoding) and _is_utf8(content, cut)", "False"),
            ("one byte a character is read as UTF-16", "elif text and _is_wide(encoding):", "elif False:"),
            ("zero bytes are part of a text", '_wide(content) and "\\x00" in text', "False"),
        ],
    ),
    (
        "data/formats.py", (CORPUS,),
        [
            ("the limit of cells stays changed", "        csv.field_size_limit(before)\n", "        pass\n"),
            ("a list that is cut off is whole", 'if mark == "]":', 'if mark in ("]", ""):'),
            ("a column that is there twice is read once", "if name and names.count(name) > 1", "if False"),
        ],
    ),
    (
        "data/columns.py", (SOURCES,),
        [
            ("a column stands in for what a function is given", "if name in RESERVED", 'if name == "completions"'),
            ("a column that no file has is left out",
             'not (key == "data.heldout" and ours in known)', "ours not in known"),
            ("what had our name stays", "if name not in moved}", "if name not in columns.values()}"),
        ],
    ),
    (
        "data/fitting.py", (FITTING,),
        [
            ("a row of which nothing is left is cut", "and least <= self.room", ""),
            ("rows that are left out are not counted", "self._rows += not cut", "pass"),
        ],
    ),
    (
        "data/prompts.py", (FITTING,),
        [
            ("a prompt is cut at its end",
             "ids[len(ids) - room + len(start) :]", "ids[len(start) : room]"),
            ("the reward reads what was cut off", '{**record, "prompt": chat.tokenizer.decode(ids)}', "record"),
        ],
    ),
    (
        "data/texts.py", (FITTING,),
        [
            ("a text that is cut ends",
             "row.completion[:length]", "row.completion[: length - 1] + row.completion[-1:]"),
        ],
    ),
    (
        "run/manifest.py", (SOURCES,),
        [
            ("only the first file is compared",
             "return found[0] if len(found) == 1 else", "return found[0] if found else"),
        ],
    ),
]  # fmt: skip
