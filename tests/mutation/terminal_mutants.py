"""Mistakes in judging in a terminal."""

TERMINAL = "feedback/terminal/test_keys"

GROUPS = [
    (
        "feedback/terminal/collect.py", (TERMINAL,),
        [
            ("1 is the first of the item, not of the screen", "float(question.order[side])", "float(side)"),
            ("0 is no rating", '10 if key == "0" else int(key)', '0 if key == "0" else int(key)'),
            ("a tie is skipped", "Said(Verdict(BETTER, TIE, confidence=confidence)", "Said(Verdict(SKIPPED)"),
            ("what was typed before counts", "    keys.forget()", "    pass"),
            ("nothing is given back", "            store.release(person)", "            pass"),
        ],
    ),
    (
        "feedback/terminal/keys.py", (TERMINAL,),
        [
            ("the terminal stays as it is",
             "            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)", "            pass"),
            ("an arrow is three keys", 'if read == "\\x1b":', "if False:"),
        ],
    ),
    (
        "feedback/terminal/screen.py", (TERMINAL,),
        [
            ("the terminal takes texts for markup", "[as_text(text) if text else", "[text if text else"),
            ("narrow windows have two columns", "or width < BESIDE:", "or False:"),
            ("the rest of a long text is never seen", "body = body[self.offset : last - 1]", "body = body[: room - 1]"),
        ],
    ),
]  # fmt: skip
