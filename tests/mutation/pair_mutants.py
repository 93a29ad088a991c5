"""Mistakes in how judged answers are read, left out and split."""

JUDGED, PREFERENCES, UNITS = "data/test_judged", "data/test_preferences", "data/test_units"

GROUPS = [
    (
        "data/answers.py", (JUDGED,),
        [
            ("a dialogue is split at its first answer", "text.rindex(ASSISTANT)", "text.index(ASSISTANT)"),
            ("dialogues to other prompts are a pair",
             "if any(text[:end] != before for text, end in zip(texts, ends, strict=True)):", "if False:"),
            ("conversations to other prompts are a pair",
             "each[:-1] != conversations[0][:-1]", "each[0] != conversations[0][0]"),
            ("a conversation has its prompt twice", "answer[: len(before)] == before", "False"),
            ("dialogues that were asked for are split", "if beside or not any(dialogues):", "if not any(dialogues):"),
            ("the human's turn is part of an answer", 'f"\\n\\n{HUMAN}" in answer', "False"),
        ],
    ),
    (
        "data/judged.py", (JUDGED,),
        [
            ("preference 0 means the second", "(1, 0) if preferred == 1", "(1, 0) if preferred == 0"),
            ("a tie has a better side", "TIE if preferred == TIE else 1.0", "1.0"),
            ("equal ratings are an order", "TIE if goodness[i] == goodness[j] else 1.0", "1.0"),
            ("rank 1 is the worst", "else [-rank for rank in numbers]", "else list(numbers)"),
            ("identical answers are a pair", "if texts[pair.chosen] != texts[pair.rejected])", ")"),
            ("spaces are an answer", "text.strip() for text in texts", "text for text in texts"),
            ("pairs that are cut alike stay", "if seen[pair.chosen] != seen[pair.rejected])", ")"),
            ("a number goes before what it stands for", "if label in values else float(label)",
             "if label in values and not label.isdigit() else float(label)"),
        ],
    ),
    (
        "data/preferences.py", (PREFERENCES,),
        [
            ("a tie says the opposite", "if not tie}", "}"),
            ("annotators who agree repeat each other", ", row.annotator)", ")"),
            ("what was left out before is forgotten", "kept, out = [], list(self.left_out)", "kept, out = [], []"),
        ],
    ),
    (
        "data/units.py", (UNITS,),
        [
            ("texts are tied in one step only", "root[find(other)] = find(first)", "root[other] = first"),
            ("rows without a prompt are one unit", '_flat(prompt or "") or None', '_flat(prompt or "")'),
            ("most of the rows are held out", " if 2 * count <= len(units)]", "]"),
            ("the answers of a prompt tie it to others",
             "elif (prompt := prompt_key(row.prompt)) is not None:",
             "elif (prompt := prompt_key(row.prompt)) and False:"),
            ("no group is held out", "1 if grouped else 0", "0"),
            ("every seed has the same folds", 'stream(seed, "folds")', 'stream(0, "folds")'),
        ],
    ),
]  # fmt: skip
