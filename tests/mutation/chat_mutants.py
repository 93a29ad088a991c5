"""Mistakes in how conversations are shown to a model, in what of them is learned, and in how they are read."""

CHAT, TURNS, MESSAGES, TERMINAL = "models/test_chat", "models/test_turns", "data/test_messages", "commands/test_chat"

GROUPS = [
    (
        "models/chat.py", (CHAT,),
        [
            ("words of people's are control tokens", "text if key == \"role\" else spell(text)", "text"),
            (
                "a left-out turn is not told", "not in text:\n                raise",
                "not in text and False:\n                raise",
            ),
            (
                "an empty system's turn makes no conversation", "None if self.system is None else",
                "None if not self.system else",
            ),
        ],
    ),
    (
        "models/control.py", (CHAT,),
        [
            ("a mark that people wrote", "if character not in taken:", "if character in taken or True:"),
            ("pieces of a vocabulary keep their names", "[[names.get(word, word), score]", "[[word, score]"),
        ],
    ),
    (
        "models/turns.py", (TURNS,),
        [
            (
                "the end of a turn is not learned", "return start, end[i] + rest.index(word) + len(word)",
                "return start, end[i]",
            ),
            ("a token over the border is learned", "any(a <= start and stop <= b", "any(a < stop and stop <= b"),
            ("the white space of a turn is nobody's", "at + len(head)\n", "limit\n"),
            ("only the first turn is the last", "turns[-1:] if last_only", "turns[:1] if last_only"),
        ],
    ),
    (
        "data/texts.py", (MESSAGES,),
        [
            ("holes are padding", "torch.cat([prompts.mask, real], dim=1)", "torch.cat([prompts.mask, mask], dim=1)"),
            ("the user's turns are learned", "torch.tensor(row.spoken.learned)", "True"),
        ],
    ),
    (
        "data/messages.py", (MESSAGES,),
        [("an answer is no reference", 'return {"reference": answers[-1], **made}', "return {**made}")],
    ),
    (
        "commands/chat.py", (TERMINAL,),
        [
            ("half a character is shown", "whole = text.rstrip(UNFINISHED)", "whole = text"),
            ("an answer moves the cursor", "print(safe_text(whole[shown:])", "print(whole[shown:]"),
            ("a turn is forgotten", "answered(policy, [*messages, {", "answered(policy, [{"),
        ],
    ),
]  # fmt: skip
